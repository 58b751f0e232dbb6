"""Small real requests that find out whether a model that kept failing works again.

A breaker that has cooled down is tried with one of these, so that no client has to be the first.
"""

import asyncio
from contextlib import aclosing

from frontend.domain.generation import Conversation, Generation, Passage
from frontend.domain.ids import new_id
from frontend.domain.messages import Message
from frontend.domain.models import Model
from frontend.domain.sampling import Sampling
from frontend.domain.vectors import Embedding, Pairs
from frontend.errors import GatewayError, InvalidRequest
from frontend.upstreams.health import State
from frontend.upstreams.member import Member
from frontend.upstreams.protocol import Call, Upstream

_PROBE_S = 20.0


async def probing(member: Member) -> None:
    """Tries the models of one upstream whose breakers have cooled down, until it is cancelled."""
    while True:
        await asyncio.sleep(member.registry.interval_s)
        member.check_age()
        await try_again(member)


async def try_again(member: Member) -> None:
    """One request to each model whose breaker is half open."""
    for name, state in member.broken.items():
        model = member.registry.own(name)
        if state is not State.HALF_OPEN or model is None:
            continue
        try:
            await _ask(member.upstream, model, Call(f"probe/{new_id()}", _PROBE_S))
        except InvalidRequest:
            member.succeeded(name)  # it answers, and that is what was asked
        except GatewayError as error:
            member.failed(name, error, answered=False)
        else:
            member.succeeded(name)


async def _ask(upstream: Upstream, model: Model, call: Call) -> None:
    able = model.capabilities
    if "embedding" in able:
        await upstream.embed(model, Embedding(["a"]), call)
    elif "rerank" in able:
        await upstream.rerank(model, Pairs(["a"], ["a"]), call)
    elif able & {"chat", "completion"}:
        prompt = Conversation((Message("user", "a"),)) if "chat" in able else Passage("a")
        one = Generation(prompt, Sampling(max_tokens=1))
        async with aclosing(upstream.generate(model, one, call)) as groups:
            async for _ in groups:
                pass
    # an image takes too long for a probe: the next client's request is the first one
