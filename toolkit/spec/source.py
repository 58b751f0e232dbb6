"""Where weights come from, as models.yaml writes it: `package:`, `path:` or `hf:`.

Pure text: nothing is looked up here. `toolkit.weights.fetch` does that.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_PACKAGE = re.compile(
    r"(?P<requirement>[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*)/(?P<member>.+)"
)
_HUB = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?"
)
FORMS = (
    "package:NAME==VERSION/path/in/wheel, path:FOLDER_OR_FILE (relative to models.yaml)"
    " or hf:ORG/NAME[@REVISION]"
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
    """A repository on the Hugging Face Hub; `revision` is a branch, tag or commit."""

    repository: str
    revision: str | None

    def __str__(self) -> str:
        return f"hf:{self.repository}" + (f"@{self.revision}" if self.revision else "")


Source = PackageSource | PathSource | HubSource


def parse_source(text: str) -> Source:
    """Reads one source. Raises ValueError that says what a right one looks like."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in {"package", "path", "hf"}:
        raise ValueError(f"'{text}' is no source: write {FORMS}")
    if scheme == "path":
        if not rest.strip():
            raise ValueError("'path:' names no file or folder")
        return PathSource(rest)
    if scheme == "hf":
        if not (match := _HUB.fullmatch(rest)):
            raise ValueError(
                f"'{text}' is no Hub source: write hf:ORG/NAME or hf:ORG/NAME@REVISION"
            )
        return HubSource(match["repository"], match["revision"])
    return _package(text, rest)


def _package(text: str, rest: str) -> PackageSource:
    if not (match := _PACKAGE.fullmatch(rest)):
        raise ValueError(
            f"'{text}' is no package source: write package:NAME==VERSION/path/in/wheel"
        )
    member = PurePosixPath(match["member"])
    if member.is_absolute() or ".." in member.parts:
        raise ValueError(f"'{member}' leaves the wheel: write a path inside it, without '..'")
    return PackageSource(match["requirement"], str(member))
