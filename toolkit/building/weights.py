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
from toolkit.kinds.llm.facts import AdapterFacts
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

    `fetched` is its source. Raises SourceError if the weights cannot be fetched, ConvertError if
    they cannot be converted, and MissingExtra without a library that is needed; nothing half-made
    stays.
    """
    named = _Named(name, progress)
    kind = kinds.of(entry)
    check_digest(fetched, entry)
    place = keep_converted(kind.conversion(fetched.path), fetched, named)
    place = quantize_entry(name, entry, place, fetched.digest, named)
    facts = read_place(place)
    kind.check_weights(entry, facts, place / kind.loaded if kind.loaded else None)
    adapters, about = {}, {}
    for adapter, given in kind.adapters(entry).items():
        # errors otherwise point at the model's own `source`
        with about_adapter(adapter):
            weights = check_digest(fetch(given.origin, folder, progress), given)
            rank = check_adapter(adapter, weights.path)
        adapters[adapter] = weights.path
        about[adapter] = AdapterFacts(rank=rank, digest=weights.digest)
    if about:
        facts = facts.model_copy(update={"adapters": about})
    template = kind.chat_template(entry)
    text = read_template(folder / template) if template else None
    # the source's digest: a converted folder's would change with every library
    return Prepared(place, fetched.digest, facts, adapters, text)


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
