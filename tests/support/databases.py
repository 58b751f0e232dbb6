"""A real PostgreSQL for tests, from a wheel, and databases that cost milliseconds.

One server for each run that asks for it; each test gets a copy of a database that was migrated
once. `POSTGRES_BIN` names the folder of another PostgreSQL's programs.
"""

import asyncio
import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import psutil

from frontend.store.database import Database, make_file
from frontend.store.location import Location, at_file, parse_location
from frontend.store.migrate import upgrade
from tests.support.processes import free_port, wait_for

_NOBODY = 65534
_CALM = ("fsync=off", "full_page_writes=off", "unix_socket_directories=", "shared_buffers=32MB")


class Postgres:
    """PostgreSQL on a port of loopback, in a folder that it may have for itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL does not run as root
        self._user = _NOBODY if os.geteuid() == 0 else None

    def start(self) -> None:
        """Returns when it answers. Starts again what was stopped."""
        if not self._data.exists():
            self._create()
        flags = [word for each in _CALM for word in ("-c", each)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, "-p", str(self._port), *flags],
                user=self._user,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        wait_for(self._answers, what="an answer of PostgreSQL")

    def stop(self, *, kill: bool = False) -> None:
        """Ends it immediately; with `kill` as a machine that fails."""
        if self._process is not None:
            # those that serve a connection notice the end of the first one a moment later
            serving = psutil.Process(self._process.pid).children(recursive=True) if kill else []
            self._process.kill() if kill else self._process.send_signal(2)  # SIGINT: fast
            for process in serving:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait(20)
            psutil.wait_procs(serving, timeout=20)
            self._process = None

    def url(self, name: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{name}"

    def execute(self, statement: str) -> None:
        """Runs one statement outside of any transaction."""
        _finish(self._execute(statement))

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        await connection.execute(statement)
        await connection.close()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            self.execute("SELECT 1")
            return True
        return False

    def _create(self) -> None:
        self._folder.mkdir(mode=0o755, exist_ok=True)
        if self._user is not None:
            os.chown(self._folder, self._user, self._user)
            for parent in self._folder.parents[:-1]:  # the way to it
                if parent.stat().st_uid == 0:
                    parent.chmod(parent.stat().st_mode | 0o011)
        flags = ["--auth=trust", "--username=postgres", "--encoding=utf8", "--no-sync"]
        subprocess.run(
            [self._bin / "initdb", *flags, "--locale=C", "-D", self._data],
            user=self._user,
            check=True,
            capture_output=True,
            cwd="/",
        )

    @functools.cached_property
    def _bin(self) -> Path:
        """The programs; copied where the user that runs them cannot read the environment."""
        if "POSTGRES_BIN" in os.environ:
            return Path(os.environ["POSTGRES_BIN"])
        package = Path(_origin("pgserver")).parent
        programs = package / "pginstall" / "bin"
        with contextlib.suppress(PermissionError):
            subprocess.run(
                [programs / "postgres", "--version"],
                user=self._user,
                check=True,
                capture_output=True,
                cwd="/",
            )
            return programs
        for each in (package, package.with_name("pgserver.libs")):  # they refer to each other
            shutil.copytree(each, self._folder / each.name)
        return self._folder / "pgserver" / "pginstall" / "bin"


class Databases:
    """Migrated databases, new for each test. The server starts when the first test needs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: Postgres | None = None
        self._count = 0

    def sqlite(self) -> Location:
        """A file with all tables."""
        copy = self._folder / f"{self._next()}.db"
        shutil.copy(self._migrated_file, copy)
        return at_file(copy)

    def postgres(self) -> Location:
        """A database of the server with all tables."""
        name = self._next()
        self.server.execute(f"CREATE DATABASE {name} TEMPLATE migrated")
        return parse_location(self.server.url(name))

    def empty(self, kind: str) -> Location:
        """`sqlite` or `postgres`, without tables."""
        name = self._next()
        if kind == "sqlite":
            location = at_file(self._folder / f"{name}.db")
            make_file(location)
            return location
        self.server.execute(f"CREATE DATABASE {name}")
        return parse_location(self.server.url(name))

    @property
    def server(self) -> Postgres:
        """PostgreSQL, which runs from now on."""
        self._server = self._server or self._start()
        return self._server

    def close(self) -> None:
        """Stops the server."""
        if self._server is not None:
            self._server.stop()

    def _start(self) -> Postgres:
        server = Postgres(self._folder / "postgres")
        server.start()
        server.execute("CREATE DATABASE migrated")
        _migrate(parse_location(server.url("migrated")))
        return server

    @functools.cached_property
    def _migrated_file(self) -> Path:
        location = at_file(self._folder / "migrated.db")
        make_file(location)
        _migrate(location)
        return location.file

    def _next(self) -> str:
        self._count += 1
        return f"test_{self._count}"


def server_folder() -> Path:
    """A new folder for a server that may run as another user, among the run's temporary files.

    Not in pytest's own: each pytest that starts closes that to other users, and PostgreSQL ends.
    """
    return Path(tempfile.mkdtemp(prefix="db-"))


def url_of(location: Location) -> str:
    """The URL as a gateway is given it."""
    if location.is_sqlite:
        return f"sqlite:///{location.file}"
    return location.url.set(drivername="postgresql").render_as_string(hide_password=False)


def _migrate(location: Location) -> None:
    async def run() -> None:
        database = Database(location)
        await upgrade(database)
        await database.close()

    _finish(run())


def _finish(work: Coroutine[None, None, None]) -> None:
    """In a thread of its own, because the test's may have a loop that runs."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def _origin(package: str) -> str:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return spec.origin
