"""A catalogue entry → converted weights in the cache, made once: `<home>/weights/<key>/`.

A cache folder holds one folder per step and the facts; a recipe's key names it, so a newer library
or recipe makes a new one beside the old. What an entry adds to the weights (LoRA adapters, a chat
template) stays outside of it.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.convert.recipes import Recipe, recipe
from toolkit.errors import ConvertError, SourceError
from toolkit.facts import AdapterFacts, Facts, LlmFacts, read_facts, write_facts
from toolkit.home import home
from toolkit.progress import Progress, Step
from toolkit.spec import Adapter, LlmEntry, SourcedEntry
from toolkit.weights.adapters import check_adapter
from toolkit.weights.cache import ensure
from toolkit.weights.digest import text_digest
from toolkit.weights.fetch import fetch
from toolkit.weights.sources import Fetched
from toolkit.weights.template import read_template


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


def prepare(name: str, entry: SourcedEntry, folder: Path, progress: Progress) -> Prepared:
    """Fetches and converts the weights of `entry`; `folder` is where its relative paths start.

    Raises SourceError, ConvertError, MissingExtra; nothing half-made stays.
    """
    named = _Named(name, progress)
    fetched = _checked(f"the weights of '{name}'", fetch(entry.origin, folder, progress), entry)
    chosen = recipe(entry.kind, fetched.path)
    place = home() / "weights" / text_digest(chosen.key(fetched.digest))[:32]
    ensure(place, lambda scratch: _convert(chosen, fetched.path, scratch, named))
    prepared = Prepared(place, fetched.digest, read_facts(place))
    return (
        _prepare_llm(name, entry, prepared, folder, progress)
        if isinstance(entry, LlmEntry)
        else prepared
    )


def _prepare_llm(
    name: str, entry: LlmEntry, prepared: Prepared, folder: Path, progress: Progress
) -> Prepared:
    """With what only language models have."""
    assert isinstance(prepared.facts, LlmFacts)
    place = quantized(name, entry, prepared.folder)
    adapters, about = {}, {}
    for adapter, given in entry.adapters.items():
        fetched = _checked(f"the adapter '{adapter}'", fetch(given.origin, folder, progress), given)
        rank = check_adapter(adapter, fetched.path)
        adapters[adapter] = fetched.path
        about[adapter] = AdapterFacts(rank=rank, digest=fetched.digest)
    template = read_template(folder / entry.chat_template) if entry.chat_template else None
    facts = prepared.facts.model_copy(update={"adapters": about})
    return Prepared(place, prepared.digest, facts, adapters, template)


def quantized(name: str, entry: LlmEntry, place: Path) -> Path:
    """The folder to take an entry's weights from: `place`, or one made from it that has them in the
    number type that `quantization` names.

    Raises ConvertError: weights are not quantized while building yet.
    """
    if entry.quantization is None:
        return place
    raise ConvertError(
        f"'{name}' is to be quantized to {entry.quantization}, and building cannot do that",
        hint="name weights that are published quantized, without `quantization`",
    )


def _checked(what: str, fetched: Fetched, wanted: SourcedEntry | Adapter) -> Fetched:
    if wanted.digest is not None and wanted.digest != fetched.digest:
        raise SourceError(
            f"{what} have the digest {fetched.digest}, not {wanted.digest}",
            hint="the source has changed; if that is right, write the new digest into models.yaml",
        )
    return fetched


class _Named:
    """A Progress whose steps say which model they work on."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._progress = progress

    def step(
        self, title: str, *, total: float | None = None, unit: str = "steps"
    ) -> AbstractContextManager[Step]:
        return self._progress.step(f"{self._name}: {title}", total=total, unit=unit)


def _convert(chosen: Recipe, source: Path, scratch: Path, progress: Progress) -> None:
    write_facts(scratch, chosen.load()(source, scratch, progress))
    for path in scratch.rglob("*"):
        if path.is_file():
            path.chmod(0o644)  # safetensors writes 0600, and Triton may run as another user
