"""Starts `toolkit serve` in the background, finds it again, and ends it in order.

The service runs in a session of its own and outlives its caller. Only what a record names is
ended: a `toolkit serve` of this user, whose process id was not reused.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from toolkit.errors import ServeError
from toolkit.serve import journal
from toolkit.serve.record import READY, Record, live_records

BACKGROUND = "TRITON_TOOLKIT_BACKGROUND"
"""Environment variable of a service in the background: its caller announces it."""
_COMMAND = ["-m", "toolkit", "serve"]
_POLL_S = 0.1
_INTERRUPT_S = 10.0


def start_service(arguments: Sequence[str], report: Callable[[str], None]) -> Record:
    """Runs `toolkit serve ARGUMENTS` in the background and returns when it is ready.

    `report` gets each line of its progress. Raises ServeError with the service's own error if it
    ends first. An interruption stops the service.
    """
    # -P: a folder `toolkit` in the working directory must not be imported instead
    argv = [sys.executable, "-P", *_COMMAND, *arguments]
    with tempfile.TemporaryFile() as output:  # the service keeps it; its log has the same lines
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C in the terminal, or its end, must not reach the service
            start_new_session=True,
            env=os.environ | {BACKGROUND: "1"},
        )
        try:
            record = _wait(process, _Lines(output.fileno()), report)
        # an interruption included: the caller does not learn of a service that stays
        except BaseException:
            _interrupt(process)
            raise
    process.returncode = 0  # it stays; without this, subprocess would warn of it
    return record


def _wait(
    process: subprocess.Popen[bytes], lines: "_Lines", report: Callable[[str], None]
) -> Record:
    errors: list[str] = []
    while True:
        code = process.poll()  # before the lines: then they are complete
        for line in lines.read():
            # what follows the first error belongs to it
            if errors or line.startswith("error: "):
                errors.append(line)
            else:
                report(line)
        if code is not None:
            raise _failure(code, errors)
        for record in live_records():
            if record.pid == process.pid and record.state == READY:
                return record
        time.sleep(_POLL_S)


class _Lines:
    """The lines that a file gets. The writer shares the file's position, so it is not moved."""

    def __init__(self, file: int, at: int = 0) -> None:
        self._file, self._at, self._rest = file, at, b""

    def read(self) -> list[str]:
        """Returns complete lines that were not returned before."""
        # pread: reading with the shared position would move the writer, too
        new = os.pread(self._file, 1 << 20, self._at)
        self._at += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def _failure(code: int, lines: list[str]) -> ServeError:
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    text = "\n".join(line for line in lines if not line.startswith("hint: "))
    error = ServeError(
        text.removeprefix("error: ") or f"the service ended with code {code} before it was ready",
        hint=hints[0] if hints else None,
    )
    error.exit_code = code or 1
    return error


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Ends a service that is not needed any more; it does not outlive its start."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_INTERRUPT_S)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)  # the second one kills
        process.wait()


def stop_service(
    record: Record, report: Callable[[str], None], timeout_s: float, *, kill: bool = False
) -> None:
    """Ends a service in order: running requests may finish, models are unloaded.

    `report` gets what the service says meanwhile, such as what it waits for. With `kill` nothing
    may finish. Raises ServeError if it still runs after `timeout_s`; it is not killed then.
    """
    try:
        process = psutil.Process(record.pid)
    except psutil.NoSuchProcess:
        return
    with _open(Path(record.logs, journal.FILE)) as log:
        lines = _Lines(log.fileno(), os.fstat(log.fileno()).st_size)
        # after the log's end was noted, so that its first line about the end is not missed
        _signal(process, record)
        if kill:
            time.sleep(_POLL_S)  # two pending signals of one number would be one
            _signal(process, record)
        # not killed afterwards: running requests are worth more than a prompt
        deadline = time.monotonic() + timeout_s
        alive = True
        while alive:
            alive = record.alive  # before the lines: then they are complete
            for line in lines.read():
                report(journal.text_of(line))
            if alive and time.monotonic() > deadline:
                raise ServeError(
                    f"the service on port {record.port} is still running after {timeout_s:g} s",
                    hint="it ends when its requests have finished; to wait longer, pass "
                    "--timeout-s; to stop without waiting, pass --kill",
                )
            if alive:
                time.sleep(_POLL_S)


def _signal(process: psutil.Process, record: Record) -> None:
    if record.alive:  # psutil compares the start time again before it sends
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)


def _open(path: Path) -> BinaryIO:
    """The service's log; an empty file if it cannot be read."""
    try:
        return path.open("rb")
    except OSError:
        return Path(os.devnull).open("rb")
