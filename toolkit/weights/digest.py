"""SHA-256 of files and folders, in the form that models.yaml and configs carry: `sha256:<hex>`.

A folder's digest covers relative names and contents, nothing else: no dates, no modes.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from toolkit.checksum import file_sha256


def digest(path: Path) -> str:
    """Digest of a file's bytes, or of a folder's tree. Raises OSError when it cannot be read."""
    if path.is_file():
        return f"sha256:{file_sha256(path)}"
    # Path sorts by parts, this by text: `a-b` and `a/b` change places, and digests are recorded
    files = sorted(path.rglob("*"), key=lambda file: file.relative_to(path).as_posix())
    return files_digest(path, [file for file in files if file.is_file()])


def files_digest(folder: Path, files: Iterable[Path]) -> str:
    """Digest of some files below a folder, in their order."""
    lines = [f"{file_sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    # names of files are bytes, which Python reads as surrogates where they are not UTF-8
    content = "".join(lines).encode("utf-8", "surrogateescape")
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def text_digest(text: str) -> str:
    """Hex digest of a text, for names of cache folders."""
    return hashlib.sha256(text.encode()).hexdigest()
