"""The operator's declarations about a model of an upstream, which override the server's facts.

Pure.
"""

from dataclasses import dataclass, replace

from frontend.domain.models import Input, Model
from frontend.domain.upstreams import TensorNames


@dataclass(frozen=True, slots=True)
class Declared:
    """What the operator says about one model. `own`: its name at the upstream. None: not said.

    `chat_template`, `tokenizer` and `tensors` are for a Triton's models of other builders:
    a template's text, the path of a tokenizer, and the names of an embedding model's tensors.
    """

    name: str
    own: str
    kind: str | None = None
    capabilities: frozenset[str] | None = None
    context_length: int | None = None
    dimensions: int | None = None
    images: bool | None = None
    aliases: tuple[str, ...] = ()
    chat_template: str | None = None
    tokenizer: str | None = None
    tensors: TensorNames | None = None


def declare(model: Model, facts: Declared) -> Model:
    """The model as the operator declares it."""
    accepts = model.accepts
    if facts.images is not None:
        accepts = accepts | {Input.IMAGES} if facts.images else accepts - {Input.IMAGES}
    return replace(
        model,
        name=facts.name,
        kind=facts.kind or model.kind,
        aliases=facts.aliases or model.aliases,
        capabilities=model.capabilities if facts.capabilities is None else facts.capabilities,
        context_length=facts.context_length or model.context_length,
        dimensions=facts.dimensions or model.dimensions,
        accepts=accepts,
    )
