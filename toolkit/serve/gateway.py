"""The gateway as a child: started, asked whether it is well, ended.

It is asked on a socket of its own in the private folder, which neither the callers' connections nor
the limits on them can fill.
"""

import socket
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import ServeError
from toolkit.serve.child import Child, Command
from toolkit.serve.watch import Patience, Watch

_START_S = 30.0
_ASK_INTERVAL_S = 2.0
_ASK_S = 3600.0


@dataclass(slots=True)
class Gateway:
    """`health` is the socket that the command listens on beside `url`.

    One that leaves a question there unanswered for `timeout_s` hangs.
    """

    command: Command
    health: Path
    url: str
    timeout_s: float
    _child: Child | None = field(default=None, init=False)
    _watch: Watch | None = field(default=None, init=False)

    def start(self) -> None:
        """Starts it and returns when it answers. Raises ServeError."""
        self.health.unlink(missing_ok=True)
        self._child = Child(self.command)
        deadline = time.monotonic() + _START_S
        while not self.answers(timeout_s=2):
            if self._child.exit_code is not None or time.monotonic() > deadline:
                raise ServeError(f"the gateway did not start:\n{self._child.log_tail()}")
            time.sleep(0.1)
        self._watch = Watch(
            ask=self._ask,
            patience=Patience(self.timeout_s, 0, _ASK_INTERVAL_S),
        )

    def wait_until_ready(self, timeout_s: float) -> None:
        """Returns when it serves models, or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not self._ready() and time.monotonic() < deadline:
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False

    def answers(self, timeout_s: float) -> bool:
        """Whether its event loop turns, asked as GET /healthz."""
        try:
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(timeout_s)
                asking.connect(str(self.health))
                asking.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
                return asking.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def _ask(self) -> None:
        self.answers(_ASK_S)

    def trouble(self) -> str | None:
        """Why it has to be started again; None while it is well."""
        assert self._child is not None
        assert self._watch is not None
        if self._child.exit_code is not None:
            return f"the gateway ended with code {self._child.exit_code}"
        if self._watch.look():
            return f"the gateway did not answer for {self.timeout_s:g} s"
        return None

    def ask_to_end(self) -> None:
        """Starts the drain and returns at once."""
        if self._child:
            self._child.ask_to_end()

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended, within that time."""
        return self._child is None or self._child.wait(timeout_s)

    def kill(self) -> None:
        """Ends it at once, whatever it does."""
        if self._child:
            self._child.kill()
