"""The address of each running `toolkit serve`: one small file per service, in the toolkit's home.

It has the random address of the service's Triton and is removed when the service ends. A record
whose process is gone is ignored.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from toolkit.errors import ServeError
from toolkit.home import home
from toolkit.serve.folder import make_private

_FOLDER = "running"


@dataclass(frozen=True, slots=True)
class Record:
    """`address` is for gRPC; `port` is the one that clients use; `started` detects a reused pid."""

    port: int
    address: str
    repository: str
    pid: int
    started: float

    @classmethod
    def here(cls, port: int, address: str, repository: Path) -> "Record":
        """The record of this process."""
        process = psutil.Process()
        return cls(port, address, str(repository), process.pid, process.create_time())

    @property
    def alive(self) -> bool:
        """Whether its process still runs."""
        with suppress(psutil.Error):
            return psutil.Process(self.pid).create_time() == self.started
        return False


@contextmanager
def recorded(record: Record) -> Iterator[None]:
    """Keeps the record for as long as the block runs.

    If the home is read-only, as in a container, there is no record.
    """
    path = home() / _FOLDER / f"{record.port}.json"
    with suppress(OSError):
        make_private(path.parent)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.touch(0o600)
        fresh.write_text(json.dumps(asdict(record)))
        fresh.replace(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def find_service(port: int | None = None) -> Record:
    """The service on `port`, or the only one. Raises ServeError if there is none, or several."""
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
            hint="start one, or give the address of any Triton: --triton HOST:PORT",
        )
    if len(services) > 1:
        raise ServeError("several services are running", hint=f"choose one with --port: {known}")
    return next(iter(services.values()))


def live_records() -> list[Record]:
    """The services of this user that run now."""
    records = []
    for path in sorted((home() / _FOLDER).glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            record = Record(**json.loads(path.read_text()))
            if record.alive:
                records.append(record)
    return records
