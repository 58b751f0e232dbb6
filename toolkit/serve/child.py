"""A guarded child process: it starts with a clean environment and ends with its parent.

All output of the child goes to one log file. This module does not know what the child does.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.serve import guard
from toolkit.serve.folder import make_private

_KILL_S = 30.0


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run. `environment` is the child's whole environment; `grace_s` its time to end.

    `shm_prefix` and `scratch` name what the child leaves behind when it or its parent is killed.
    """

    argv: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    folder: Path
    grace_s: float = 30.0
    shm_prefix: str = ""
    scratch: str = ""


@dataclass(slots=True)
class Child:
    """A running command under its guard."""

    command: Command
    _guard: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        make_private(self.command.log.parent)
        # no site packages and nothing from the environment: it must start fast and always
        runner = [sys.executable, "-I", "-S", str(Path(guard.__file__))]
        command = self.command
        settings = [command.scratch, command.shm_prefix, str(command.grace_s)]
        with open(self.command.log, "ab", opener=_private) as log:
            self._guard = subprocess.Popen(
                [*runner, *settings, *self.command.argv],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(self.command.environment),
                cwd=self.command.folder,
                # Ctrl-C must reach only the supervisor, which ends its children in order
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """None while the child runs; 128 + N when signal N ended it."""
        return self._guard.poll()

    @property
    def pid(self) -> int:
        """The guard's process id; the command is its only child."""
        return self._guard.pid

    def begin_stop(self, *, interrupt: bool = False) -> None:
        """Starts the graceful end, with SIGTERM or as Ctrl-C does, and returns immediately; `end`
        waits for it."""
        self._send(b"i" if interrupt else b"t")

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended, within that time."""
        try:
            self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, grace_s: float | None = None) -> int:
        """Ends the child gracefully, by force after its grace period; returns its exit code."""
        self.begin_stop()
        try:
            # the guard kills after `grace_s`; 10 s more for what it removes then
            self.wait(self.command.grace_s + 10 if grace_s is None else grace_s)
        finally:
            self.kill()
        return self._guard.returncode

    def kill(self) -> None:
        """Kills the child and its whole session. A signal handler may call it, too."""
        # the guard does it: it knows the session, and this process may be in a signal handler
        self._send(b"k")
        # without a limit Popen holds a lock while it waits, and a handler that waits never gets it
        self._guard.wait(_KILL_S)
        if self._guard.stdin is not None:
            self._guard.stdin.close()

    def _send(self, what: bytes) -> None:
        if self._guard.poll() is None and self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.write(what)
                self._guard.stdin.flush()

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the child's log."""
        text = self.command.log.read_text(errors="replace") if self.command.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _private(path: str, flags: int) -> int:
    log = os.open(path, flags, 0o600)
    # a log of an older release may exist with another mode
    os.fchmod(log, 0o600)
    return log


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment of every child: only home, path, certificates and time zone."""
    # PYTHONPATH above all is left out: the stub ignores it, children of engines do not
    kept = ("HOME", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CACHE_HOME", "TMPDIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **environment, **extra}
