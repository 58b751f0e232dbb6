"""The state of the weights that a models.yaml names: here, partly here, absent, or corrupted.

Reads this disk only and uses no network.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from toolkit import kinds
from toolkit.home import home
from toolkit.progress import silent
from toolkit.spec import (
    GgufSource,
    HubSource,
    PackageSource,
    PathSource,
    Source,
    SourcedEntry,
    Spec,
)
from toolkit.weights.digest import digest
from toolkit.weights.fetch import (
    UrlSource,
    fetch,
    hub_cached,
    hub_place,
    identity,
    inside,
    object_place,
)
from toolkit.weights.sources import Fetched, downloads_of, place_of, recorded
from toolkit.wheels import partial_wheel


class State(StrEnum):
    """`partial`: a download that was stopped and can continue. `corrupted`: not what came."""

    HERE = "here"
    PARTIAL = "partial"
    ABSENT = "absent"
    CORRUPTED = "corrupted"


@dataclass(frozen=True, slots=True)
class Standing:
    """One source of a models.yaml. `size_bytes` is what is here of it."""

    name: str
    source: str
    state: State
    size_bytes: int
    path: Path | None = None
    digest: str | None = None
    note: str = ""


def standings(spec: Spec, *, verify: bool = False) -> list[Standing]:
    """Every model's weights. With `verify` all bytes are read and compared with their digest."""
    return [
        _standing(name, required.source, required.digest, spec.folder, verify)
        for name, required in spec_sources(spec).items()
    ]


@dataclass(frozen=True, slots=True)
class Required:
    """What models.yaml asks for: a model's or an adapter's weights."""

    kind: str
    source: Source
    digest: str | None


def spec_sources(spec: Spec) -> dict[str, Required]:
    """Every source by the model's name, or `model/adapter`; ensembles do not have sources."""
    sources: dict[str, Required] = {}
    for name, entry in spec.models.items():
        if not isinstance(entry, SourcedEntry):
            continue
        sources[name] = Required(entry.kind, entry.origin, entry.digest)
        for adapter, given in kinds.of(entry).adapters(entry).items():
            sources[f"{name}/{adapter}"] = Required("adapter", given.origin, given.digest)
    return sources


def _standing(
    name: str, source: Source, expected: str | None, folder: Path, verify: bool
) -> Standing:
    source = source.file if isinstance(source, GgufSource) else source
    place = local_place(source, folder)
    if place is None or not place.exists():
        partial = sum(map(size_of, _partials(source)))
        state = State.PARTIAL if partial else State.ABSENT
        note = f"{place} does not exist" if isinstance(source, PathSource) else ""
        return Standing(name, str(source), state, partial, note=note)
    if isinstance(source, PathSource):
        # nothing is recorded of a local path: only models.yaml can say what it was
        path, known = place, expected
    else:
        kept = recorded(place)
        path, known = kept.path, kept.digest
    actual = digest(path) if verify else known
    state, note = State.HERE, ""
    if verify and known is not None and actual != known:
        state, note = State.CORRUPTED, f"its digest is {actual}, but was {known} before"
    elif expected is not None and actual is not None and actual != expected:
        state, note = (
            State.CORRUPTED,
            f"models.yaml has the digest {expected}, but the weights have {actual}",
        )
    return Standing(name, str(source), state, size_of(path), path, actual, note)


def local_place(source: Source | UrlSource, folder: Path) -> Path | None:
    """Where a source is or would be; None while that is not known."""
    if isinstance(source, GgufSource):
        return local_place(source.file, folder)
    if isinstance(source, PathSource):
        return folder / source.path
    if isinstance(source, PackageSource | UrlSource):
        return place_of(identity(source))
    return hub_place(source) if isinstance(source, HubSource) else object_place(source)


def _partials(source: Source) -> Iterator[Path]:
    if isinstance(source, PackageSource):
        # a whole wheel, too: its member has not been unpacked yet
        yield home() / "wheels" / source.requirement
        yield partial_wheel(source.requirement)
    elif isinstance(source, UrlSource):
        yield downloads_of(identity(source))


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 for nothing. Links are not followed."""
    if path.is_file():
        return path.stat().st_size
    return sum(
        file.lstat().st_size for file in path.rglob("*") if file.is_file() or file.is_symlink()
    )


def find_local(source: Source, folder: Path) -> Fetched | None:
    """The source if it is on this disk, without network access; None if it has to be fetched.

    The digest of a local path is computed, which reads all of it. Raises SourceError if that path
    does not exist or cannot be read.
    """
    inner = source.file if isinstance(source, GgufSource) else source
    if isinstance(inner, PathSource):
        return fetch(source, folder, silent)
    place = local_place(inner, folder)
    if place is None or not place.exists():
        return hub_cached(inner) if isinstance(inner, HubSource) else None
    found = recorded(place)
    return inside(found, inner) if isinstance(inner, HubSource) else found
