"""The process that clients connect to: the gateway, or the relay for gateways on other machines.

Its health is checked on a separate socket in the private folder, which clients' connections and
the limits on them cannot exhaust.
"""

import os
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import ServeError
from toolkit.serve.child import Child, Command, clean_environment
from toolkit.serve.options import ServeOptions
from toolkit.serve.relay import is_up
from toolkit.serve.triton import TritonServer
from toolkit.serve.watch import Timeouts, Watch

GATEWAY_SOCKET = "gateway.sock"
"""In the service's private folder: the gateway's health, and what its models do."""
_START_S = 30.0
_ASK_INTERVAL_S = 2.0
_ASK_S = 3600.0


@dataclass(slots=True)
class Front:
    """`name` is used in messages; `answers(socket, timeout_s)` checks its health.

    It hangs if a check gets no answer for `timeout_s`.
    """

    name: str
    command: Command
    socket: Path
    answers: Callable[[Path, float], bool]
    timeout_s: float
    _child: Child | None = field(default=None, init=False)
    _watch: Watch | None = field(default=None, init=False)

    def start(self) -> None:
        """Starts it and returns when it answers. Raises ServeError if it ends or does not answer in
        time."""
        # one that a killed gateway left would refuse connections and could not be bound
        self.socket.unlink(missing_ok=True)
        self._child = Child(self.command)
        self._watch = Watch(ask=self._ask, timeouts=Timeouts(self.timeout_s, 0, _ASK_INTERVAL_S))
        deadline = time.monotonic() + _START_S
        while not self.answers(self.socket, 2.0):
            if self._child.exit_code is not None or time.monotonic() > deadline:
                raise ServeError(f"{self.name} did not start:\n{self._child.log_tail()}")
            time.sleep(0.1)

    def _ask(self) -> None:
        self.answers(self.socket, _ASK_S)

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.command.log

    def trouble(self) -> str | None:
        """Why the process must be restarted; None while it is healthy."""
        assert self._child is not None
        assert self._watch is not None
        if self._child.exit_code is not None:
            return f"{self.name} ended with code {self._child.exit_code}"
        if self._watch.check():
            return f"{self.name} did not answer for {self.timeout_s:g} s"
        return None

    def begin_stop(self, *, interrupt: bool = False) -> None:
        """Starts the drain, which Ctrl-C makes short, and returns immediately."""
        if self._child:
            self._child.begin_stop(interrupt=interrupt)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended, within that time."""
        return self._child is None or self._child.wait(timeout_s)

    def kill(self) -> None:
        """Kills it."""
        if self._child:
            self._child.kill()


def gateway(options: ServeOptions, triton: TritonServer) -> Front:
    """The gateway in front of `triton`."""
    health = triton.folder / GATEWAY_SOCKET
    # last: the gateway's own settings must not move the socket
    argv = [*options.gateway_command(triton.address), "--health-socket", str(health)]
    # the gateway's settings may be environment variables; nothing else is passed on
    settings = {name: value for name, value in os.environ.items() if name.startswith("TRITON_")}
    command = _command("gateway", argv, options, triton, settings)
    return Front("the gateway", command, health, _gateway_answers, options.gateway_timeout_s)


def relay(options: ServeOptions, triton: TritonServer) -> Front:
    """The relay, for gateways on other machines."""
    private = triton.folder / "relay.sock"
    host, port = options.listening
    host = f"[{host}]" if ":" in host else host
    argv = [sys.executable, "-P", "-m", "toolkit.serve.relay", "--triton", triton.address]
    argv += ["--listen", f"{host}:{port}", "--listen", f"unix:{private}"]
    argv += ["--drain-s", str(options.drain_s)]
    if options.control_key_file is not None:
        argv += ["--key-file", str(options.control_key_file.absolute())]
    command = _command("relay", argv, options, triton, {})
    return Front("the relay", command, private, is_up, options.gateway_timeout_s)


def _command(
    name: str,
    argv: list[str],
    options: ServeOptions,
    triton: TritonServer,
    settings: Mapping[str, str],
) -> Command:
    return Command(
        argv=argv,
        log=options.logs / f"{name}.log",
        environment=clean_environment(**{**settings, "TMPDIR": str(triton.folder / "tmp")}),
        folder=Path.cwd(),  # the gateway's settings may name files relative to it
        grace_s=options.drain_s + 5,
    )


def _gateway_answers(health: Path, timeout_s: float) -> bool:
    """Whether the gateway answers GET /healthz on the socket `health`."""
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(timeout_s)
            asking.connect(str(health))
            asking.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            # the status line is all that counts, so the answer is not read to its end
            return asking.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def wait_until_ready(url: str, timeout_s: float) -> None:
    """Returns when the gateway at `url` serves models, or after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not _ready(url) and time.monotonic() < deadline:
        time.sleep(0.1)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False
