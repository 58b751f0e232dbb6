"""Where weights come from, as models.yaml writes it: `hf:`, `package:`, `path:`, `gguf:`, `s3:` …
or a name of `toolkit list-available`, which stands for one of these.

Pure text: nothing is looked up here. `toolkit.weights.fetch` does that.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from packaging.version import InvalidVersion, Version

from toolkit.catalogue import catalogue, find_available, suggest
from toolkit.names import close_models

_PACKAGE = re.compile(
    r"(?P<requirement>[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*)/(?P<member>.+)"
)
_HUB = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?"
)
_HUB_FILE = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w.-]+))?"
    r"/(?P<file>.+)"
)
_BUCKET = re.compile(r"(?://)?(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])/(?P<key>.+)")
FORMS = (
    "package:NAME==VERSION/path/in/wheel, path:FOLDER_OR_FILE (relative to models.yaml),"
    " hf:ORG/NAME[@REVISION], gguf:FILE (or gguf: before one of the others), s3:BUCKET/PATH"
    " or gs:BUCKET/PATH, or a name that `toolkit list-available` shows"
)


@dataclass(frozen=True, slots=True)
class PackageSource:
    """A file, a folder or a .zip inside a wheel of the package registry."""

    requirement: str
    member: str

    def __str__(self) -> str:
        return f"package:{self.requirement}/{self.member}"


@dataclass(frozen=True, slots=True)
class PathSource:
    """A file or folder, relative to models.yaml's own folder unless absolute."""

    path: str

    def __str__(self) -> str:
        return f"path:{self.path}"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository on the Hugging Face Hub, or one `file` of it; `revision` is a branch, tag or
    commit."""

    repository: str
    revision: str | None
    file: str | None = None

    def __str__(self) -> str:
        text = f"hf:{self.repository}" + (f"@{self.revision}" if self.revision else "")
        return f"{text}/{self.file}" if self.file else text


@dataclass(frozen=True, slots=True)
class ObjectSource:
    """A file or all files below a prefix in an object store; `scheme` is `s3` or `gs`."""

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class GgufSource:
    """One GGUF file, wherever it is."""

    file: PackageSource | PathSource | HubSource | ObjectSource

    def __str__(self) -> str:
        text = str(self.file)
        return f"gguf:{text.removeprefix('path:')}"


Source = PackageSource | PathSource | HubSource | ObjectSource | GgufSource


def parse_source(text: str, revision: str | None = None) -> Source:
    """Reads one source; `revision` is the field of that name.

    Raises ValueError that says what a right one looks like.
    """
    source = _parse(text)
    return source if revision is None else _at(source, revision)


def path_of(source: Source) -> str | None:
    """The local path that a source names, None for one that lies elsewhere."""
    inner = source.file if isinstance(source, GgufSource) else source
    return inner.path if isinstance(inner, PathSource) else None


def _parse(text: str) -> Source:
    scheme, colon, rest = text.partition(":")
    match scheme if colon else "":
        case "path":
            return _path(text, rest)
        case "hf":
            return _hub(text, rest)
        case "package":
            return _package(text, rest)
        case "s3" | "gs":
            return _object(text, scheme, rest)
        case "gguf":
            return _gguf(text, rest)
    # names of the catalogue have no colon, so they cannot hide a scheme
    if not colon and (known := find_available(text)):
        return _parse(known.source)
    if not colon and re.match(r"\.{0,2}/|~/", text):
        scheme = "gguf" if text.endswith(".gguf") else "path"
        raise ValueError(f"'{text}' is not a source: did you mean {scheme}:{text}?")
    if not colon and close_models(text, catalogue()):
        raise ValueError(f"'{text}' is not a source: {suggest(text)}")
    raise ValueError(f"'{text}' is not a source: write {FORMS}")


def _at(source: Source, revision: str) -> Source:
    inner = source.file if isinstance(source, GgufSource) else source
    if not isinstance(inner, HubSource):
        raise ValueError(
            "only hf: sources have revisions; a package source names its version, and `digest`"
            " pins any source"
        )
    # two revisions: neither of them is surely meant
    if inner.revision not in (None, revision):
        raise ValueError(f"the source already names the revision '{inner.revision}'")
    exact = HubSource(inner.repository, revision, inner.file)
    return GgufSource(exact) if isinstance(source, GgufSource) else exact


def _path(text: str, rest: str) -> PathSource:
    if not rest.strip() or "\0" in rest:
        raise ValueError(f"'{text}' does not name a file or folder")
    return PathSource(rest)


def _hub(text: str, rest: str) -> HubSource:
    if not (match := _HUB.fullmatch(rest)):
        raise ValueError(f"'{text}' is not a Hub source: write hf:ORG/NAME or hf:ORG/NAME@REVISION")
    return HubSource(match["repository"], match["revision"])


def _object(text: str, scheme: str, rest: str) -> ObjectSource:
    match = _BUCKET.fullmatch(rest)
    parts = match["key"].rstrip("/").split("/") if match else [""]
    # keys become paths in the cache, and `*` would be a pattern in some stores
    if match is None or {"", ".", ".."} & set(parts) or re.search(r"[*?\[\]\0]", rest):
        raise ValueError(
            f"'{text}' does not name an object: write {scheme}:BUCKET/PATH, without '..' or *"
        )
    return ObjectSource(scheme, match["bucket"], "/".join(parts))


def _gguf(text: str, rest: str) -> GgufSource:
    if not rest.endswith(".gguf"):
        raise ValueError(f"'{text}' does not name a .gguf file: write gguf:FILE.gguf")
    scheme = rest.partition(":")[0]
    if scheme == "hf":
        if not (match := _HUB_FILE.fullmatch(rest.removeprefix("hf:"))):
            raise ValueError(
                f"'{text}' does not name a file: write gguf:hf:ORG/NAME[@REVISION]/FILE.gguf"
            )
        if ".." in match["file"].split("/"):
            raise ValueError(f"'{text}' refers to a path outside its repository")
        return GgufSource(HubSource(match["repository"], match["revision"], match["file"]))
    inner = _parse(rest if scheme in {"package", "path", "s3", "gs"} else f"path:{rest}")
    assert not isinstance(inner, GgufSource)
    return GgufSource(inner)


def _package(text: str, rest: str) -> PackageSource:
    if not (match := _PACKAGE.fullmatch(rest)):
        raise ValueError(
            f"'{text}' is not a package source: write package:NAME==VERSION/path/in/wheel"
        )
    name, _, version = match["requirement"].partition("==")
    try:
        Version(version)
    except InvalidVersion:
        raise ValueError(
            f"'{version}' in '{text}' is not a version: write package:{name}==1.2.3/path/in/wheel"
        ) from None
    # wheels are zip files, whose names may lead out of the folder that they are unpacked to
    member = PurePosixPath(match["member"])
    if member.is_absolute() or ".." in member.parts:
        raise ValueError(f"'{member}' is outside the wheel: write a path inside it, without '..'")
    return PackageSource(match["requirement"], str(member))
