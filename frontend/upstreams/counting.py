"""Counts the tokens of a prompt at an upstream that reports them only with an answer."""

from contextlib import aclosing
from dataclasses import replace

from frontend.domain.generation import Generation
from frontend.domain.models import Model
from frontend.domain.sampling import Sampling
from frontend.upstreams.protocol import Call, Upstream


async def count_by_generating(
    upstream: Upstream, model: Model, generation: Generation, call: Call
) -> int:
    """The tokens of the prompt, from an answer of one token. Raises GatewayError if the upstream
    refuses or fails."""
    # without a temperature: some models refuse every value
    once = replace(generation, sampling=Sampling(max_tokens=1), structure=None, reply=None)
    counted = 0
    async with aclosing(upstream.generate(model, once, call)) as groups:
        async for group in groups:
            counted = group[-1].prompt_tokens
    return counted
