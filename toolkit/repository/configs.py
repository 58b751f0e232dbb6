"""A catalogue entry, what its weights say, and a target → the configs of its models.

Nothing here looks at a disk. The ensemble comes first and carries the `toolkit.*` parameters from
which the gateway learns everything (python_backends/README.md).
"""

from collections.abc import Mapping, Sequence

from toolkit.errors import ConvertError
from toolkit.facts import DiffusionFacts, EmbeddingFacts, Facts, LlmFacts, RerankFacts, UserFacts
from toolkit.model_config import ModelConfig
from toolkit.repository.diffusion import diffusion_configs
from toolkit.repository.encoding import embedding_configs, rerank_configs
from toolkit.repository.llm import llm_configs
from toolkit.repository.user import (
    contract_parameters,
    entry_digest,
    python_config,
    user_ensemble_config,
)
from toolkit.spec import (
    DiffusionEntry,
    EmbeddingEntry,
    EnsembleEntry,
    Entry,
    LlmEntry,
    PythonEntry,
    RerankEntry,
    SourcedEntry,
)
from toolkit.targets import Target

CONTRACT = 1


def model_configs(
    name: str, entry: SourcedEntry, facts: Facts, digest: str, target: Target
) -> list[ModelConfig]:
    """The model `name` and its steps. `digest` is the source's, `sha256:…`.

    Raises ConvertError when the entry asks for more than the weights can do.
    """
    public = _public(entry, str(entry.origin), digest)
    match entry, facts:
        case LlmEntry(), LlmFacts():
            _check_context(name, entry.context_length, facts.context_length)
            able = _llm_capabilities(entry, facts)
            return llm_configs(name, entry, facts, _able(public, entry.kind, able), target)
        case EmbeddingEntry(), EmbeddingFacts():
            _check_context(name, entry.context_length or 1, facts.context_length)
            _check_lengths(name, entry.matryoshka, facts.dimensions)
            able = ["embedding"]
            return embedding_configs(name, entry, facts, _able(public, entry.kind, able), target)
        case RerankEntry(), RerankFacts():
            _check_context(name, entry.context_length or 1, facts.context_length)
            return rerank_configs(name, entry, facts, _able(public, entry.kind, ["rerank"]), target)
        case DiffusionEntry(), DiffusionFacts():
            public = _able(public, entry.kind, ["image"])
            return diffusion_configs(name, entry, facts, public, target)
        case PythonEntry(), UserFacts():
            return [python_config(name, entry, _declared(entry, public), target)]
    raise AssertionError(f"{entry.kind} entry with {facts.kind} facts")


def ensemble_configs(
    name: str, entry: EnsembleEntry, others: Mapping[str, Entry]
) -> list[ModelConfig]:
    """The config of a user's ensemble, in a list of one; `others` is the whole catalogue."""
    public = _public(entry, "models.yaml", entry_digest(entry))
    return [user_ensemble_config(name, entry, others, _declared(entry, public))]


def _declared(entry: PythonEntry | EnsembleEntry, public: dict[str, object]) -> dict[str, object]:
    """All parameters of a user's model; none where it declares no contract."""
    contract = contract_parameters(entry)
    return {**public, **contract} if contract else {}


def _public(entry: Entry, source: str, digest: str) -> dict[str, object]:
    """The parameters of every public model."""
    parameters: dict[str, object] = {
        "toolkit.contract": CONTRACT,
        "toolkit.aliases": list(entry.aliases),
        "toolkit.source": source,
        "toolkit.digest": digest,
        "toolkit.owned_by": entry.owned_by,
    }
    if entry.created is not None:
        parameters["toolkit.created"] = entry.created
    return parameters


def _llm_capabilities(entry: LlmEntry, facts: LlmFacts) -> list[str]:
    chats = facts.chat or entry.chat_template is not None
    able = ["chat", "completion", "tools"] if chats else ["completion"]
    able += ["reasoning"] if entry.reasoning_parser else []
    able += ["vision"] if facts.vision else []
    return able + (["infill"] if entry.fim else [])


def _able(public: dict[str, object], kind: str, capabilities: list[str]) -> dict[str, object]:
    return {**public, "toolkit.kind": kind, "toolkit.capabilities": capabilities}


def _check_context(name: str, wanted: int, most: int) -> None:
    if wanted > most:
        raise ConvertError(
            f"'{name}' is to have a context of {wanted} tokens, but its weights know {most}",
            hint=f"set context_length to {most} or less",
        )


def _check_lengths(name: str, shorter: Sequence[int], dimensions: int) -> None:
    for length in shorter:
        if length >= dimensions:
            raise ConvertError(
                f"'{name}' is to cut its vectors to {length} numbers, but they have {dimensions}",
                hint=f"leave {length} out of matryoshka",
            )
