"""A program on a terminal of its own: what a person types, and what the screen then shows."""

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# the terminal becomes the program's own, so that Ctrl-C reaches it
_TAKE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
_TAKE += "os.execvp(sys.argv[1], sys.argv[1:])"
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_=>])")


@dataclass
class Terminal:
    """`text` is everything that was shown so far, without escape sequences."""

    process: subprocess.Popen[bytes]
    file: int
    raw: bytes = b""
    seen: int = 0

    @property
    def text(self) -> str:
        return _ESCAPES.sub("", self.raw.decode(errors="replace")).replace("\r", "")

    def type(self, keys: str) -> None:
        """Types these keys, as they are."""
        os.write(self.file, keys.encode())

    def expect(self, text: str, timeout_s: float = 60) -> str:
        """Waits until the text is shown, and returns all since the last `expect`."""
        deadline = time.monotonic() + timeout_s
        start = self.seen
        while text not in self.text[start:]:
            assert time.monotonic() < deadline, f"no {text!r} in {self.text[start:]!r}"
            ready, _, _ = select.select([self.file], [], [], 0.2)
            if ready:
                with contextlib.suppress(OSError):
                    self.raw += os.read(self.file, 65536)
            else:
                assert self.process.poll() is None, f"it ended: {self.text[start:]!r}"
        shown = self.text[start:]
        self.seen = start + shown.index(text) + len(text)
        return shown

    def send(self, line: str, expected: str) -> str:
        """Types a line, and waits for what it should show."""
        self.type(line + "\r")
        return self.expect(expected)


@contextlib.contextmanager
def on_terminal(
    command: list[str], environment: Mapping[str, str], folder: Path
) -> Iterator[Terminal]:
    """Runs a program on a new terminal until the block ends."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _TAKE, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, **environment, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        cwd=folder,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
