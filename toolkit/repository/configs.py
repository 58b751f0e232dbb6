"""A catalogue entry, what its weights say, and a target → the configs of its models.

Nothing here looks at a disk. The ensemble comes first and carries the `toolkit.*` parameters from
which the gateway learns everything (python_backends/README.md).
"""

from tritonclient.grpc.model_config_pb2 import ModelConfig

from toolkit.errors import ConvertError
from toolkit.facts import DiffusionFacts, EmbeddingFacts, Facts, LlmFacts
from toolkit.repository.diffusion import diffusion_configs
from toolkit.repository.embedding import embedding_configs
from toolkit.repository.llm import llm_configs
from toolkit.spec import DiffusionEntry, EmbeddingEntry, Entry, LlmEntry
from toolkit.targets import Target

CONTRACT = 1


def model_configs(
    name: str, entry: Entry, facts: Facts, digest: str, target: Target
) -> list[ModelConfig]:
    """The ensemble `name` and its steps. `digest` is the source's, `sha256:…`.

    Raises ConvertError when the entry asks for more than the weights can do.
    """
    public = _public(entry, facts, digest)
    match entry, facts:
        case LlmEntry(), LlmFacts():
            _check_context(name, entry.context_length, facts.context_length)
            return llm_configs(name, entry, facts, public, target)
        case EmbeddingEntry(), EmbeddingFacts():
            length = entry.context_length or facts.context_length
            _check_context(name, length, facts.context_length)
            return embedding_configs(name, facts.dimensions, length, public, target)
        case DiffusionEntry(), DiffusionFacts():
            return diffusion_configs(name, entry, facts, public, target)
    raise AssertionError(f"{entry.kind} entry with {facts.kind} facts")


def _public(entry: Entry, facts: Facts, digest: str) -> dict[str, object]:
    """The parameters of every ensemble."""
    parameters: dict[str, object] = {
        "toolkit.contract": CONTRACT,
        "toolkit.kind": entry.kind,
        "toolkit.aliases": list(entry.aliases),
        "toolkit.capabilities": _capabilities(facts),
        "toolkit.source": str(entry.origin),
        "toolkit.digest": digest,
        "toolkit.owned_by": entry.owned_by,
    }
    if entry.created is not None:
        parameters["toolkit.created"] = entry.created
    return parameters


def _capabilities(facts: Facts) -> list[str]:
    match facts:
        case LlmFacts(chat=False):
            return ["completion"]
        case LlmFacts(vision=vision):
            return ["chat", "completion", "tools", *(["vision"] if vision else [])]
        case EmbeddingFacts():
            return ["embedding"]
        case DiffusionFacts():
            return ["image"]


def _check_context(name: str, wanted: int, most: int) -> None:
    if wanted > most:
        raise ConvertError(
            f"'{name}' is to have a context of {wanted} tokens, but its weights know {most}",
            hint=f"set context_length to {most} or less",
        )
