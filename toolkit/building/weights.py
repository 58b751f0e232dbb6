"""Fetches and converts an entry's weights once, into the cache folder `<home>/weights/<key>/`.

A cache folder holds one folder per step and the facts; a recipe's key names it, so a newer library
or recipe makes a new one beside the old. What an entry adds to the weights (LoRA adapters, a chat
template) stays outside of it.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from toolkit import kinds
from toolkit.building.quantization import quantize_entry
from toolkit.convert.kept import keep_converted
from toolkit.errors import ConvertError, SourceError, ToolkitError
from toolkit.facts import Facts
from toolkit.kinds import read_facts
from toolkit.kinds.classify import refusal
from toolkit.kinds.kind import Sourced
from toolkit.kinds.llm.facts import AdapterFacts, LlmFacts
from toolkit.kinds.llm.fields import LlmEntry
from toolkit.kinds.llm.limits import check_cache, check_weights
from toolkit.kinds.llm.template import read_template
from toolkit.progress import Progress, Step
from toolkit.spec import SourcedEntry
from toolkit.targets import Target
from toolkit.weights.adapters import check_adapter
from toolkit.weights.fetch import fetch
from toolkit.weights.sources import Fetched
from toolkit.weights.vocabulary import longest_token_bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """Converted weights: `folder/<step>/…`, the source's digest, and what configs need to know.

    `adapters` are folders by name, `chat_template` replaces the model's own.
    """

    folder: Path
    digest: str
    facts: Facts
    adapters: Mapping[str, Path] = field(default_factory=dict)
    chat_template: str | None = None


def prepare(
    name: str,
    entry: SourcedEntry,
    folder: Path,
    progress: Progress,
    fetched: Fetched,
) -> Prepared:
    """Converts the weights of `entry`; `folder` is where its relative paths start.

    `fetched` is its source. Raises SourceError, ConvertError, MissingExtra; nothing half-made
    stays.
    """
    named = _Named(name, progress)
    check_digest(fetched, entry)
    place = keep_converted(kinds.of(entry).conversion(fetched.path), fetched, named)
    # the source's digest: a converted folder's would change with every library
    prepared = Prepared(place, fetched.digest, read_place(place))
    return (
        _prepare_llm(name, entry, prepared, folder, progress)
        if isinstance(entry, LlmEntry)
        else prepared
    )


def _prepare_llm(
    name: str, entry: LlmEntry, prepared: Prepared, folder: Path, progress: Progress
) -> Prepared:
    """With what only language models have."""
    named = _Named(name, progress)
    place = quantize_entry(name, entry, prepared.folder, prepared.digest, named)
    if entry.engine == "vllm":
        check_weights(entry.engine_args, place / "engine" / "weights")
    known = read_place(place)
    assert isinstance(known, LlmFacts)
    if entry.engine == "vllm":
        check_cache(entry.engine_args, entry.context_length, known.cache_bytes_per_token)
    adapters, about = {}, {}
    for adapter, given in entry.adapters.items():
        # errors otherwise point at the model's own `source`
        with about_adapter(adapter):
            fetched = check_digest(fetch(given.origin, folder, progress), given)
            rank = check_adapter(adapter, fetched.path)
        adapters[adapter] = fetched.path
        about[adapter] = AdapterFacts(rank=rank, digest=fetched.digest)
    template = read_template(folder / entry.chat_template) if entry.chat_template else None
    facts = known.model_copy(update={"adapters": about})
    return Prepared(place, prepared.digest, facts, adapters, template)


def read_place(place: Path) -> Facts:
    """Reads a cache folder's facts, and those that only the tokenizer beside the text step has."""
    facts = read_facts(place)
    if (step := kinds.all_kinds()[facts.kind].tokenizing) is None:
        return facts
    size = longest_token_bytes(place / step / "tokenizer")
    return facts.model_copy(update={"token_bytes": size})


def check_kind(entry: SourcedEntry, target: Target, path: Path) -> None:
    """Raises ConvertError for weights that the entry's kind cannot serve."""
    loader = kinds.of(entry).loader(entry, target)
    if refused := refusal(entry.kind, path, loader):
        what, hint = refused
        raise ConvertError(
            f"is {entry.kind}, and the weights are {what}", hint=hint, field=("kind",)
        )


def check_digest(fetched: Fetched, entry: Sourced) -> Fetched:
    """Returns `fetched`. Raises SourceError if models.yaml has another digest."""
    if entry.digest is not None and entry.digest != fetched.digest:
        raise SourceError(
            f"the weights have the digest {fetched.digest}, not {entry.digest}",
            hint="the source has changed; if you expected that, set `digest` to the new value",
            field=("digest",),
        )
    return fetched


@contextmanager
def about_adapter(name: str) -> Iterator[None]:
    """Errors inside are about the entry's adapter `name`."""
    try:
        yield
    except ToolkitError as error:
        error.field = ("adapters", name, *(error.field or ("source",)))
        raise


class _Named:
    """A Progress whose steps say which model they work on."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._progress = progress

    def step(
        self, title: str, *, total: float | None = None, unit: str = "steps"
    ) -> AbstractContextManager[Step]:
        return self._progress.step(f"{self._name}: {title}", total=total, unit=unit)
