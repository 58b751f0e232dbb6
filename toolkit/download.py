"""Downloads files over HTTP: resumes interrupted downloads, verifies digests, then renames.

A file at its destination is complete and has the expected digest. A partial file is next to it as
`.NAME.part`, and only bytes of the same version are appended to it. Several files are downloaded at
a time.
"""

import fcntl
import http.client
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import toolkit
from toolkit.addresses import OPENER, check_url, shown
from toolkit.atomic import FULL, is_current
from toolkit.checksum import file_git_sha1, file_sha256
from toolkit.errors import SourceError
from toolkit.file_version import FileVersion
from toolkit.parallel import in_parallel
from toolkit.progress import Step

PARALLEL = 4
_CHUNK = 1 << 20
_TIMEOUT_S = 30
_HEAD_TIMEOUT_S = 5
_TRIES = 5
"""In a row without a single byte; each byte that comes starts the count again."""
_FIRST_WAIT_S = 0.5
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
# HTTPException is not an OSError: http.client raises it for a body that ends early
_FAULTS = (OSError, http.client.HTTPException, TimeoutError, socket.timeout)


@dataclass(frozen=True, slots=True)
class Remote:
    """One file. `sha256` in hex, `size` in bytes, as far as known; `git_sha1` is how git names
    small files; `headers` go to the URL's own host only."""

    url: str
    size: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def download_all(files: Mapping[Path, Remote], step: Step) -> None:
    """Fetches every file to its place, several at a time; one that is there already is kept.

    Raises SourceError for the first that cannot be fetched or has another digest; the others are
    stopped, and all resume in the next call. All addresses are checked before the first download.
    """
    stop = threading.Event()
    transfers = [_Transfer(remote, place, step, stop) for place, remote in files.items()]
    # without `stop`, the others would finish their gigabytes first
    in_parallel(_Transfer.run, transfers, PARALLEL, stop.set)


class _Stopped(Exception):
    """Another file of the same set has failed."""


class _Transfer:
    """One file on its way. The lock on its part keeps other processes from writing to it too."""

    def __init__(self, remote: Remote, place: Path, step: Step, stop: threading.Event) -> None:
        check_url(remote.url)
        self._remote = remote
        self._place = place
        self._step = step
        self._stop = stop
        self._part = place.with_name(f".{place.name}.part")
        self._version = FileVersion(place.with_name(f".{place.name}.version"))

    def run(self) -> None:
        self._place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(_Stopped), self._naming():
            # the lock's former holder renamed the part, or removed it as wrong: look again
            while not self._place.exists():
                with self._part.open("ab") as part:
                    fcntl.flock(part, fcntl.LOCK_EX)
                    if is_current(self._part, part.fileno()) and not self._place.exists():
                        self._fill(part)
                        self._check()
                        self._version.forget()
                        self._part.replace(self._place)
                        return
            # the total counts files that were here already
            self._step.advance(self._place.stat().st_size)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """A full disk is an error of the folder: a write does not say where, nor does closing."""
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise OSError(error.errno, error.strerror, str(self._place.parent)) from error

    def _fill(self, part: IO[bytes]) -> None:
        # what an earlier run wrote counts as done, and is where the range begins
        part.seek(0, 2)
        self._step.advance(part.tell())
        tries, farthest = 0, part.tell()
        while True:
            try:
                if self._transfer(part):
                    return
            except _FAULTS as error:
                # about the disk, not the line: waiting frees nothing
                if isinstance(error, OSError) and error.errno in FULL:
                    raise
                # the error is the answer as well, and holds the connection
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                # a download that always starts again gets no farther, however many bytes come
                tries = 1 if part.tell() > farthest else tries + 1
                farthest = max(farthest, part.tell())
                if tries >= _TRIES or not _may_pass(error):
                    raise _refusal(self._remote.url, error) from error
                if self._stop.wait(_FIRST_WAIT_S * 2 ** (tries - 1)):
                    raise _Stopped from None

    def _transfer(self, part: IO[bytes]) -> bool:
        """Asks for what is missing; true when the file is whole."""
        if part.tell() and not self._checked and self._version.known is None:
            self._start_again(part)  # nothing would tell two versions of the file apart
        have = part.tell()
        if self._remote.size is not None and have == self._remote.size:
            return True
        headers = {"User-Agent": f"triton-toolkit/{toolkit.__version__}"} | dict(
            self._remote.headers
        )
        # the digest is of the plain bytes, and ranges of a compressed answer do not join
        headers["Accept-Encoding"] = "identity"
        if have:
            headers["Range"] = f"bytes={have}-"
            if not self._checked and self._version.known:
                headers["If-Range"] = self._version.known
        request = urllib.request.Request(self._remote.url, headers=headers)  # noqa: S310
        try:
            answer = OPENER.open(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if error.code != 416 or not have:
                raise
            error.close()
            self._start_again(part)  # more is here than there: it was another file
            return False
        with answer:
            # servers may ignore a range and send all of it, as RFC 9110 (14.2) allows
            if have and answer.status != 206:
                self._start_again(part)
            elif have and not self._checked and not self._version.matches(answer):
                # a server that ignores If-Range: its bytes are the end of another version
                self._start_again(part)
                return False
            return self._receive(answer, part)

    @property
    def _checked(self) -> bool:
        """Whether a digest proves in the end that all bytes are those of one file."""
        return bool(self._remote.sha256 or self._remote.git_sha1)

    def _receive(self, answer: Any, part: IO[bytes]) -> bool:
        self._refuse_page(answer)
        expected = _total(answer, part.tell())
        if self._remote.size is not None and expected not in (None, self._remote.size):
            raise SourceError(
                f"{shown(self._remote.url)} has {expected} bytes, expected {self._remote.size}",
                hint="the file has changed at its source; run the command again",
            )
        if not self._checked:
            self._version.keep(answer)
        # read would keep a slow line's bytes until a whole chunk is there; read1 gives what came
        while chunk := answer.read1(_CHUNK):
            if self._stop.is_set():
                raise _Stopped
            part.write(chunk)
            part.flush()
            self._step.advance(len(chunk))
            if self._remote.size is not None and part.tell() > self._remote.size:
                raise SourceError(f"{shown(self._remote.url)} sent more bytes than it announced")
        # http.client's read1 ends without an error where the line breaks before Content-Length
        if expected is not None and part.tell() < expected:
            raise http.client.IncompleteRead(b"", expected - part.tell())
        return True

    def _refuse_page(self, answer: Any) -> None:
        """A web page where a file was named: a login, or the Hub's page about the file."""
        kind = answer.headers.get_content_type()
        if kind == "text/html" and not (self._remote.sha256 or self._remote.git_sha1):
            raise SourceError(
                f"{shown(self._remote.url)} is a web page, not a weights file",
                hint="name the file's own address (on the Hub …/resolve/main/FILE), or hf:ORG/NAME",
            )

    def _start_again(self, part: IO[bytes]) -> None:
        self._step.advance(-part.tell())
        part.truncate(0)
        part.seek(0)

    def _check(self) -> None:
        """Raises SourceError, and forgets the bytes, when they are not the promised ones."""
        for kind, expected in (("SHA-256", self._remote.sha256), ("git", self._remote.git_sha1)):
            if expected is None:
                continue
            actual = file_sha256(self._part) if kind == "SHA-256" else file_git_sha1(self._part)
            if actual != expected.lower():
                # if it stayed, every later run would resume it and fail
                self._part.unlink()
                raise SourceError(
                    f"{shown(self._remote.url)} has the {kind} digest {actual}, "
                    f"expected {expected}",
                    hint="the download was removed; run the command again, and if the digest "
                    "differs again, do not trust the source or the network",
                )


def _total(answer: Any, have: int) -> int | None:
    """The whole file's size by this answer."""
    if answer.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        # appended at another place the bytes would make a file of the right length
        if match is None or int(match[1]) != have:
            raise http.client.HTTPException(
                "the server sent a different range than the requested one"
            )
        return int(match[2])
    length = answer.headers.get("Content-Length")
    return int(length) if length and length.isdigit() else None


def _may_pass(error: BaseException) -> bool:
    # everything but an HTTP status may be the line's fault, a failed name lookup included
    return error.code in _RETRIED if isinstance(error, urllib.error.HTTPError) else True


def _refusal(url: str, error: BaseException) -> SourceError:
    if isinstance(error, urllib.error.HTTPError):
        hints = {
            401: "the source requires credentials: for the Hub, set HF_TOKEN",
            403: "the credentials do not give access: for the Hub, accept the model's terms there",
            404: "check the name and the revision",
        }
        return SourceError(
            f"{shown(url)} answers {error.code} {error.reason}", hint=hints.get(error.code)
        )
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, OSError) and reason.strerror:
        reason = reason.strerror
    return SourceError(
        f"{shown(url)} cannot be fetched: {reason}",
        hint="check the address and the network; the downloaded part is kept: run the command "
        "again to resume",
    )


def remote_bytes(remote: Remote) -> int | None:
    """The size of one file in bytes from its server's answer to HEAD; None if unknown."""
    check_url(remote.url)
    request = urllib.request.Request(remote.url, method="HEAD", headers=dict(remote.headers))  # noqa: S310
    try:
        # a plan continues without the number, so it is asked once and does not wait long
        with OPENER.open(request, timeout=_HEAD_TIMEOUT_S) as answer:
            return _total(answer, 0)
    except _FAULTS:
        return None


def total_bytes(files: Iterable[Remote]) -> int | None:
    """The size of all files in bytes; None if one is unknown."""
    sizes = [file.size for file in files]
    return sum(size for size in sizes if size is not None) if None not in sizes else None
