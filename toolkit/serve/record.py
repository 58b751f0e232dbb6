"""The records of running services: one small file for each `toolkit serve`, in the toolkit's home.

It has the random address of the service's Triton and is removed when the service ends. A record
whose process is gone is ignored. Reading it needs neither gRPC nor the service.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from toolkit.errors import ServeError
from toolkit.home import home
from toolkit.serve.folder import make_private

STARTING, READY, STOPPING = "starting", "ready", "stopping"
_FOLDER = "running"


@dataclass(frozen=True, slots=True)
class Record:
    """`address` is for gRPC; `port` is the one that clients use; `started` detects a reused pid.

    `url` is where the gateway answers, "" for a service without one; `health` is the gateway's
    private socket. `state` is STARTING, READY or STOPPING.
    """

    port: int
    address: str
    repository: str
    pid: int
    started: float
    url: str = ""
    health: str = ""
    logs: str = ""
    state: str = STARTING

    @classmethod
    def here(
        cls,
        port: int,
        address: str,
        repository: Path,
        *,
        url: str = "",
        health: Path | None = None,
        logs: Path | None = None,
    ) -> "Record":
        """The record of this process."""
        process = psutil.Process()
        places = {"health": str(health or ""), "logs": str(logs or "")}
        born = process.create_time()
        return cls(port, address, str(repository), process.pid, born, url, **places)

    @property
    def alive(self) -> bool:
        """Whether its process still runs; a zombie does not."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            ended = process.status() == psutil.STATUS_ZOMBIE
            # the start time: the kernel gives a number again to another process
            return process.create_time() == self.started and not ended
        return False


@contextmanager
def recorded(record: Record) -> Iterator[Callable[[str], None]]:
    """Keeps the record for as long as the block runs, and yields a function that sets its state.

    If the home is read-only, as in a container, there is no record.
    """
    path = home() / _FOLDER / f"{record.port}.json"
    _write(path, record)
    try:
        yield lambda state: _write(path, replace(record, state=state))
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _write(path: Path, record: Record) -> None:
    with suppress(OSError):
        make_private(path.parent)
        # renamed into place, as readers must not find half a file
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.touch(0o600)
        fresh.write_text(json.dumps(asdict(record)))
        fresh.replace(path)


def find_service(port: int | None = None, instead: str = "") -> Record:
    """The service on `port`, or the only one. Raises ServeError if there is none, or several.

    `instead`: what the command accepts in place of a service, for the hint.
    """
    services = {record.port: record for record in live_records()}
    if port is not None and port in services:
        return services[port]
    known = ", ".join(str(each) for each in sorted(services))
    if port is not None:
        hint = f"running: {known}" if services else "toolkit serve starts one"
        raise ServeError(f"none of your `toolkit serve` processes uses port {port}", hint=hint)
    if not services:
        raise ServeError(
            "you have no running `toolkit serve`",
            hint="`toolkit serve` starts one" + (f"; or {instead}" if instead else ""),
        )
    if len(services) > 1:
        raise ServeError("several services are running", hint=f"choose one with --port: {known}")
    return next(iter(services.values()))


def live_records() -> list[Record]:
    """The services of this user that run now."""
    records = []
    for path in sorted((home() / _FOLDER).glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            # a record of another release may have other fields: TypeError, and it is skipped
            record = Record(**json.loads(path.read_text()))
            if record.alive:
                records.append(record)
    return records
