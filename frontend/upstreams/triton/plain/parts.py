"""The parts that the gateway has for a model of another builder: template, tokenizer, calls."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from frontend.domain.generation import Generation
from frontend.upstreams.declared import Declared
from frontend.upstreams.protocol import Call
from frontend.upstreams.triton.models import Served
from frontend.upstreams.triton.plain.configs import Plain
from frontend.upstreams.triton.plain.generate import Writer
from frontend.upstreams.triton.plain.templates import ChatTemplate
from frontend.upstreams.triton.plain.tokens import ESTIMATE, Tokens
from frontend.upstreams.triton.plain.vectors import Embedder


@dataclass(frozen=True, slots=True)
class Parts:
    """The template and the tokenizer of one model."""

    template: ChatTemplate | None = None
    tokens: Tokens = ESTIMATE


NO_PARTS = Parts()


def make_parts(declared: Mapping[str, Declared]) -> dict[str, Parts]:
    """The parts of each model by its name in Triton. Raises ValueError that names the field."""
    return {own: _parts(facts) for own, facts in declared.items()}


def _parts(facts: Declared) -> Parts:
    if facts.tensors is not None:
        if (facts.tensors.text is None) is (facts.tensors.ids is None):
            raise ValueError(f"'tensors' of {facts.name}: set one of 'text' and 'ids'")
        if facts.tensors.ids is not None and facts.tokenizer is None:
            raise ValueError(f"'tensors' of {facts.name}: 'ids' needs a 'tokenizer'")
    template, tokens = None, ESTIMATE
    field = "chat_template"
    try:
        if facts.chat_template is not None:
            template = ChatTemplate(facts.chat_template)
        field = "tokenizer"
        if facts.tokenizer is not None:
            tokens = Tokens(Path(facts.tokenizer))
    except ValueError as error:
        raise ValueError(f"'{field}' of {facts.name}: {error}") from None
    return Parts(template, tokens)


def split_choices(generation: Generation, call: Call) -> list[tuple[Generation, Call]]:
    """A call for each answer: these backends give one. With a seed each has one of its own, as
    else all answers would be the same."""
    sampling = generation.sampling
    if sampling.choices == 1:
        return [(generation, call)]
    seeds = [None if sampling.seed is None else sampling.seed + n for n in range(sampling.choices)]
    return [
        (
            replace(generation, sampling=replace(sampling, n=None, seed=seed)),
            replace(call, id=f"{call.id}-choice{number}"),
        )
        for number, seed in enumerate(seeds)
    ]


def writer(served: Served, plain: Plain, parts: Parts) -> Writer:
    """The object that generates with a model."""
    length = served.model.context_length
    return Writer(served.own, plain, length, parts.template, parts.tokens)


def embedder(served: Served, plain: Plain, parts: Parts) -> Embedder:
    """The object that embeds with a model."""
    length = served.model.context_length
    return Embedder(served.own, plain, served.max_batch, parts.tokens, length)
