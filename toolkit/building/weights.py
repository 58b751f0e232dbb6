"""A catalogue entry → converted weights in the cache, made once: `<home>/weights/<key>/`.

A cache folder holds one folder per step and the facts; a recipe's key names it, so a newer library
or recipe makes a new one beside the old.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from toolkit.convert.recipes import Recipe, recipe
from toolkit.errors import SourceError
from toolkit.facts import Facts, read_facts, write_facts
from toolkit.home import home
from toolkit.progress import Progress, Step
from toolkit.spec import Entry
from toolkit.weights.cache import ensure
from toolkit.weights.digest import text_digest
from toolkit.weights.fetch import fetch


@dataclass(frozen=True, slots=True)
class Prepared:
    """Converted weights: `folder/<step>/…`, the source's digest, and what configs need to know."""

    folder: Path
    digest: str
    facts: Facts


def prepare(name: str, entry: Entry, folder: Path, progress: Progress) -> Prepared:
    """Fetches and converts the weights of `entry`; `folder` is where its relative paths start.

    Raises SourceError, ConvertError, MissingExtra; nothing half-made stays.
    """
    fetched = fetch(entry.origin, folder, progress)
    if entry.digest is not None and entry.digest != fetched.digest:
        raise SourceError(
            f"the weights of '{name}' have the digest {fetched.digest}, not {entry.digest}",
            hint="the source has changed; if that is right, write the new digest into models.yaml",
        )
    chosen = recipe(entry.kind, fetched.path)
    place = home() / "weights" / text_digest(chosen.key(fetched.digest))[:32]
    ensure(place, lambda scratch: _convert(chosen, fetched.path, scratch, _Named(name, progress)))
    return Prepared(place, fetched.digest, read_facts(place))


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
