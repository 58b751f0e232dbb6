"""Files over HTTP that survive a broken line: resumed where they stopped, checked, then renamed.

A file that has its place is complete and has the digest that was promised; a partial file is
next to it as `.NAME.part`. Several files come at the same time. Secrets never follow a redirect to
another host, and plain HTTP is taken from this machine alone.
"""

import fcntl
import hashlib
import http.client
import ipaddress
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import toolkit
from toolkit.errors import SourceError
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

    Raises SourceError for the first that cannot be had or is not what was promised; the others are
    stopped, and all resume when asked again.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="download") as pool:
        jobs = [
            pool.submit(_Transfer(remote, place, step, stop).run) for place, remote in files.items()
        ]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            # the pool waits for its jobs, which would finish their gigabytes first
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


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

    def run(self) -> None:
        self._place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(_Stopped):
            # the lock's former holder renamed the part, or removed it as wrong: look again
            while not self._place.exists():
                with self._part.open("ab") as part:
                    fcntl.flock(part, fcntl.LOCK_EX)
                    if self._part.exists() and not self._place.exists():
                        self._fill(part)
                        self._check()
                        self._part.replace(self._place)
                        return
            # the total counts files that were here already
            self._step.advance(self._place.stat().st_size)

    def _fill(self, part: IO[bytes]) -> None:
        # what an earlier run wrote counts as done, and is where the range begins
        part.seek(0, 2)
        self._step.advance(part.tell())
        tries = 0
        while True:
            before = part.tell()
            try:
                if self._transfer(part):
                    return
            except _FAULTS as error:
                # the error is the answer as well, and holds the connection
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                tries = 1 if part.tell() > before else tries + 1
                if tries >= _TRIES or not _may_pass(error):
                    raise _refusal(self._remote.url, error) from error
                if self._stop.wait(_FIRST_WAIT_S * 2 ** (tries - 1)):
                    raise _Stopped from None

    def _transfer(self, part: IO[bytes]) -> bool:
        """Asks for what is missing; true when the file is whole."""
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
        request = urllib.request.Request(self._remote.url, headers=headers)  # noqa: S310
        try:
            answer = _OPENER.open(request, timeout=_TIMEOUT_S)
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
            return self._receive(answer, part)

    def _receive(self, answer: Any, part: IO[bytes]) -> bool:
        self._refuse_page(answer)
        expected = _total(answer, part.tell())
        if self._remote.size is not None and expected not in (None, self._remote.size):
            raise SourceError(
                f"{_shown(self._remote.url)} has {expected} bytes, expected {self._remote.size}",
                hint="the file has changed at its source",
            )
        # read would keep a slow line's bytes until a whole chunk is there; read1 gives what came
        while chunk := answer.read1(_CHUNK):
            if self._stop.is_set():
                raise _Stopped
            part.write(chunk)
            part.flush()
            self._step.advance(len(chunk))
            if self._remote.size is not None and part.tell() > self._remote.size:
                raise SourceError(f"{_shown(self._remote.url)} sends more than it said")
        # http.client's read1 ends without an error where the line breaks before Content-Length
        if expected is not None and part.tell() < expected:
            raise http.client.IncompleteRead(b"", expected - part.tell())
        return True

    def _refuse_page(self, answer: Any) -> None:
        """A web page where a file was named: a login, or the Hub's page about the file."""
        kind = answer.headers.get_content_type()
        if kind == "text/html" and not (self._remote.sha256 or self._remote.git_sha1):
            raise SourceError(
                f"{_shown(self._remote.url)} is a web page, not a file of weights",
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
            actual = _sha256(self._part) if kind == "SHA-256" else _git_sha1(self._part)
            if actual != expected.lower():
                # if it stayed, every later run would resume it and fail
                self._part.unlink()
                raise SourceError(
                    f"{_shown(self._remote.url)} has the {kind} digest {actual}, "
                    f"expected {expected}",
                    hint="what came was removed; run again, and if it stays so, do not trust the "
                    "source or the network",
                )


def check_url(url: str) -> None:
    """Raises SourceError unless `url` is https, or http to this machine itself."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    raise SourceError(f"'{_shown(url)}' is not https", hint="weights come over https only")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows only to where `check_url` allows; credentials stay with their host."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            # urllib would follow from https to http, and to ftp
            check_url(newurl)
        except SourceError:
            fp.close()
            raise
        fresh = super().redirect_request(req, fp, code, msg, headers, newurl)
        if fresh is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            # the Hub redirects to a store with signed URLs, and urllib would pass it the token
            fresh.remove_header("Authorization")
            fresh.remove_header("Cookie")
        return fresh


_OPENER = urllib.request.build_opener(_Redirects)


def _total(answer: Any, have: int) -> int | None:
    """The whole file's size by this answer."""
    if answer.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        # appended at another place the bytes would make a file of the right length
        if match is None or int(match[1]) != have:
            raise http.client.HTTPException("the answer holds another range than was asked for")
        return int(match[2])
    length = answer.headers.get("Content-Length")
    return int(length) if length and length.isdigit() else None


def _may_pass(error: BaseException) -> bool:
    # everything but an HTTP status may be the line's fault, a failed name lookup included
    return error.code in _RETRIED if isinstance(error, urllib.error.HTTPError) else True


def _refusal(url: str, error: BaseException) -> SourceError:
    if isinstance(error, urllib.error.HTTPError):
        hints = {
            401: "the source wants credentials: for the Hub, set HF_TOKEN",
            403: "the credentials may not read it: for the Hub, accept the model's terms there",
            404: "check the name and the revision",
        }
        return SourceError(
            f"{_shown(url)} answers {error.code} {error.reason}", hint=hints.get(error.code)
        )
    reason = getattr(error, "reason", None) or error
    return SourceError(
        f"{_shown(url)} cannot be fetched: {reason}",
        hint="what has come is kept: run it again to go on from there",
    )


def _shown(url: str) -> str:
    """A URL without its credentials and its query, which may hold a signature."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git_sha1(path: Path) -> str:
    """The name of a file's content in git: SHA-1 over a header and the bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def remote_bytes(remote: Remote) -> int | None:
    """The size of one file by its server's answer to HEAD; None if it does not say."""
    check_url(remote.url)
    request = urllib.request.Request(remote.url, method="HEAD", headers=dict(remote.headers))  # noqa: S310
    try:
        # a plan goes on without the number, so it is asked once and does not wait long
        with _OPENER.open(request, timeout=_HEAD_TIMEOUT_S) as answer:
            return _total(answer, 0)
    except _FAULTS:
        return None


def total_bytes(files: Iterable[Remote]) -> int | None:
    """What all files come to; None when one does not say."""
    sizes = [file.size for file in files]
    return sum(size for size in sizes if size is not None) if None not in sizes else None
