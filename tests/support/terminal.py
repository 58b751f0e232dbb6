"""A program on a terminal of its own: what a person types, and what the screen then shows."""

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# the terminal becomes the program's own, so that Ctrl-C reaches it
_TAKE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
_TAKE += "os.execvp(sys.argv[1], sys.argv[1:])"
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_=>])")
_PROMPT = re.compile(r"(?:>>>|^\.\.\.|^result of [^\n]*:) *\Z", re.MULTILINE)


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
        """Types these keys, as they are, whatever the program does now."""
        os.write(self.file, keys.encode())

    def expect(self, text: str, timeout_s: float = 60) -> str:
        """Waits until the text is shown, and returns all since the last `expect`."""
        start = self.seen
        self._read_until(lambda: text in self.text[start:], repr(text), timeout_s)
        shown = self.text[start:]
        self.seen = start + shown.index(text) + len(text)
        return shown

    def expect_end(self, text: str) -> None:
        """Waits until what is shown ends with the text."""
        # on a slow machine the list of completions is drawn below the line, and erased
        self._read_until(lambda: self.text.rstrip().endswith(text), f"{text!r} at the end", 60)

    def expect_prompt(self) -> None:
        """Waits until the program asks: keys that come earlier meet it busy."""
        self._read_until(lambda: bool(_PROMPT.search(self.text)), "prompt", 60)

    def send(self, line: str, expected: str) -> str:
        """Types a line at the prompt, and waits for what it should show."""
        self.expect_prompt()
        self.type(line + "\r")
        return self.expect(expected)

    def _read_until(self, is_shown: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_shown():
            assert time.monotonic() < deadline, f"no {what} in {self.text[self.seen :]!r}"
            ready, _, _ = select.select([self.file], [], [], 0.2)
            if ready:
                with contextlib.suppress(OSError):
                    self.raw += os.read(self.file, 65536)
            else:
                assert self.process.poll() is None, f"it ended: {self.text[self.seen :]!r}"


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
