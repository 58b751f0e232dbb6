"""Gateways of tests without the second of CPU that each needs to import its libraries.

One process per test run imports them, and forks for each gateway. What the fork runs is `main` of
`python -m frontend`, with arguments, environment, log and folder of its own. It imports nothing
that starts a thread, as a fork would lose it. `python -m tests.support.forks` is that process.
"""

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES = 2**18
_FREE = ("PYTEST_", "TMPDIR", "TRITON_")
"""Variables that may differ: no import reads them."""


class Forked:
    """A process of `Forks`: the part of `subprocess.Popen` that tests use."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self._lock = threading.Lock()
        self.pid = int(status.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        with self._lock:
            if self.returncode is None and select.select([self._status], [], [], 0)[0]:
                self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None and not select.select([self._status], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("frontend", timeout or 0.0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Does nothing for a process that has ended."""
        if self.poll() is None:
            # until its end is read its parent may have reaped it: its number is then nobody's
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        self.returncode = os.waitstatus_to_exitcode(int(self._status.recv(64)))
        self._status.close()


class Forks:
    """The process that forks. It ends with the one that started it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._requests, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_BYTES)
        with theirs:
            command = [sys.executable, "-m", "tests.support.forks", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, cwd=Path(__file__).parents[2], env=environment,
                stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            )  # fmt: skip
            # what its imports have set; a test that imports the same has it in its environment
            self._added: dict[str, str] = json.loads(self._requests.recv(_MAX_BYTES))
        self._fixed = _fixed(self._added | environment)

    def fits(self, environment: dict[str, str]) -> bool:
        """Whether imports with this environment would have read what they have read."""
        return _fixed(self._added | environment) == self._fixed

    def start(
        self, arguments: list[str], output: int, folder: Path, environment: dict[str, str]
    ) -> Forked:
        """`python -m frontend` with these arguments, whose output goes to a descriptor."""
        request = json.dumps([arguments, str(folder), environment]).encode()
        status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self._requests, [request], [theirs.fileno(), output])
        return Forked(status)


@functools.cache
def _forks() -> Forks:
    return Forks(dict(os.environ))


def start_frontend(
    arguments: list[str], output: int, folder: Path, environment: dict[str, str]
) -> Forked | subprocess.Popen[bytes]:
    """Starts `python -m frontend`: a fork, unless imports may read what is different here."""
    forks = _forks()
    if forks.fits(environment):
        return forks.start(arguments, output, folder, environment)
    command = [sys.executable, "-m", "frontend", *arguments]
    return subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=environment)


def _fixed(environment: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if not key.startswith(_FREE)}


def _serve(requests: socket.socket) -> None:
    """Forks for each request, until the other end is closed."""
    before = dict(os.environ)
    import frontend.__main__
    import frontend.serve  # what `main` imports for the server

    added = {key: value for key, value in os.environ.items() if key not in before}
    # multiprocessing names the main module to the workers that it spawns
    sys.modules["__main__"] = frontend.__main__
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who watch
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends pytest, and so the requests
    requests.send(json.dumps(added).encode())
    while True:
        request, fds, _, _ = socket.recv_fds(requests, _MAX_BYTES, 2)
        if not request:
            return
        status, output = fds
        if os.fork() == 0:
            requests.close()
            arguments, folder, environment = json.loads(request)
            _watch(status, arguments, Surroundings(output, folder, added | environment))
        os.close(status)
        os.close(output)


@dataclass(frozen=True)
class Surroundings:
    """What a new process takes over: a descriptor for its output, a folder, the environment."""

    output: int
    folder: str
    environment: dict[str, str]

    def take(self) -> None:
        os.dup2(self.output, 1)
        os.dup2(self.output, 2)
        os.close(self.output)
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)


def _watch(status: int, arguments: list[str], surroundings: Surroundings) -> None:
    """Forks the gateway, and reports its number and its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(status)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        surroundings.take()
        from frontend.__main__ import main

        sys.argv[1:] = arguments
        sys.exit(main())
    # signals to the group of a terminal end the gateway, whose end is still to be reported
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.write(status, f"{pid}\n".encode())
    _, code = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(status, f"{code}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
