"""Which version of a file an interrupted download is from."""

from pathlib import Path
from typing import Any


class FileVersion:
    """What the server calls the version that a part is from, kept in a file beside the part.

    Weak ETags do not count: they may stay the same while bytes change (RFC 9110, 13.1.5).
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def known(self) -> str | None:
        """The version of the part; None if the server did not name one."""
        try:
            return self._path.read_text()
        except FileNotFoundError:
            return None

    def keep(self, answer: Any) -> None:
        """Writes down the version that an answer names."""
        if version := _validator(answer):
            self._path.write_text(version)
        else:
            self.forget()

    def matches(self, answer: Any) -> bool:
        """Whether an answer is about the same version."""
        return self.known is not None and self.known == _validator(answer)

    def forget(self) -> None:
        """Removes what was written down."""
        self._path.unlink(missing_ok=True)


def _validator(answer: Any) -> str | None:
    etag = answer.headers.get("ETag")
    strong = etag if etag and not etag.startswith("W/") else None
    version: str | None = strong or answer.headers.get("Last-Modified")
    return version
