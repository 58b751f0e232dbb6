"""Downloads files of an object store through fsspec. Imported only for `s3:` and `gs:` sources.

What is there is listed first; the listing names the cache folder, so a changed object is fetched
again and an unchanged one never. Endpoints and credentials are the store's own environment
variables and files (AWS_ENDPOINT_URL, AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS, …).
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.atomic import ensure
from toolkit.errors import MissingExtra, SourceError
from toolkit.home import home
from toolkit.progress import Progress, Step
from toolkit.spec import ObjectSource
from toolkit.weights.digest import text_digest

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".joblib")
"""Left where they are: they run code when they are loaded."""
_VERSION = ("ETag", "etag", "md5Hash", "crc32c", "generation", "LastModified", "created", "mtime")
_CHUNK = 8 << 20
_LIBRARIES = {"s3": "s3fs", "gs": "gcsfs"}


def download(source: ObjectSource, progress: Progress) -> tuple[Path, Path]:
    """Its place in the cache, and there the file, or the folder of all files below the prefix.

    Raises SourceError if the store does not have it or does not answer, and MissingExtra without
    the store's library.
    """
    store = _store(source)
    root = f"{source.bucket}/{source.key}"
    listing = _list(store, source, root)
    # default=str: LastModified and created are dates in some stores
    key = json.dumps([str(source), [[name, *about] for name, _, about in listing]], default=str)

    def fetch(place: Path) -> None:
        total = sum(about[0] for _, _, about in listing)
        with progress.step(f"download {source}", total=total, unit="bytes") as step:
            for name, remote, about in listing:
                step.note(name)
                _copy(store, remote, _inside(place / "content", name, source), about[0], step)

    place = ensure(home() / "sources" / text_digest(key)[:32], fetch)
    alone = len(listing) == 1 and listing[0][1] == root
    content = place / "content"
    return place, content / listing[0][0] if alone else content


def list_sizes(source: ObjectSource) -> list[int]:
    """Bytes of each file that `download` would fetch. Raises SourceError if the store does not have
    it or does not answer, and MissingExtra without the store's library."""
    listing = _list(_store(source), source, f"{source.bucket}/{source.key}")
    return [about[0] for _, _, about in listing]


Listed = tuple[str, str, list[Any]]
"""Relative name, key in the store, size in bytes and what changes with the content."""


def _store(source: ObjectSource) -> Any:
    try:
        import_module(_LIBRARIES[source.scheme])
    except ImportError as error:
        raise MissingExtra(source.scheme, f"the source {source}") from error
    return import_module("fsspec").filesystem(source.scheme)


def _list(store: Any, source: ObjectSource, root: str) -> list[Listed]:
    try:
        # fsspec keeps one store a process, with the listings of earlier calls
        store.invalidate_cache()
        objects = store.find(root, detail=True)
    except Exception as error:  # every store raises its own library's classes
        raise _failure(source, error) from error
    files = []
    for remote, about in sorted(objects.items()):
        name = remote.removeprefix(root).lstrip("/") or remote.rpartition("/")[2]
        if about.get("type") == "file" and not name.endswith(_PICKLES):
            version = [about[field] for field in _VERSION if field in about]
            files.append((name, remote, [int(about["size"]), *version]))
    if not files:
        raise SourceError(
            f"{source} does not exist or is empty",
            hint="check the bucket and the path; pickle files are ignored",
        )
    return files


def _inside(folder: Path, name: str, source: ObjectSource) -> Path:
    """Where a file goes. Keys of a store may hold anything."""
    parts = name.split("/")
    # "" too: a key with two slashes, which a folder cannot tell from one
    if {"", ".", ".."} & set(parts) or "\0" in name:
        raise SourceError(f"{source} contains '{name}', which is outside its folder")
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _copy(store: Any, remote: str, target: Path, size: int, step: Step) -> None:
    copied = 0
    try:
        # read once from end to end, so that fsspec's read-ahead would be memory for nothing
        with store.open(remote, "rb", cache_type="none") as reader, target.open("wb") as writer:
            while chunk := reader.read(_CHUNK):
                writer.write(chunk)
                copied += len(chunk)
                step.advance(len(chunk))
    except Exception as error:  # as above
        raise SourceError(f"cannot download {remote}: {_reason(error)}") from error
    # a stream that is cut may end as if it were whole, and stores promise no digest to tell
    if copied != size:
        raise SourceError(
            f"{remote} ended after {copied} of {size} bytes",
            hint="it changed during the download; try again",
        )


def _failure(source: ObjectSource, error: Exception) -> SourceError:
    hint = "check the bucket's name, the network and the credentials"
    if source.scheme == "s3":
        hint += " (AWS_PROFILE or AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL for other stores)"
    return SourceError(f"cannot list {source}: {_reason(error)}", hint=hint)


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
