"""`kill -9` between the steps of an artifact: folder, record, bucket. None is lost or doubled."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from frontend.store.audit import AuditStore
from frontend.store.database import Database
from frontend.store.location import at_file
from tests.frontend.audit.test_bucket import (  # noqa: F401 - `store` is a fixture
    SECRET,
    Store,
    _client,
    files_in,
    sha256,
    store,
    writer_of,
)
from tests.support.databases import Databases
from tests.support.processes import ROOT

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # inside of botocore and moto
]
CONTENT = b"an image"
_CHILD = f"""
import asyncio, os, signal, sys
from pathlib import Path
from frontend.audit.artifacts import Artifacts
from frontend.store.audit import AuditStore
from frontend.store.database import Database
from frontend.store.location import at_file
from frontend.store.objects import Bucket, Objects
from tests.frontend.audit.test_bucket import full, writer_of

step, url, file, folder = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if step == "record":
    AuditStore.add = die
if step == "upload":
    Objects.put = die
if step == "removal":
    Artifacts.remove = die

async def run():
    place = Bucket("audit", url, "us-east-1", prefix="a/", key=("id", {SECRET!r}), timeout_s=30.0)
    writer = writer_of(Database(at_file(Path(file))), Path(folder), Objects(place))
    writer.add(full(1, {CONTENT!r}))
    await writer.flush()
    await writer.bucket.send(writer.store)

asyncio.run(run())
"""


def _keys(store: Store) -> list[str]:  # noqa: F811
    client = _client(store)
    found = [one["Key"] for one in client.list_objects_v2(Bucket="audit").get("Contents", [])]
    client.close()
    return found


@pytest.mark.parametrize("step", ["record", "upload", "removal"])
async def test_a_kill_between_two_steps(
    step: str,
    store: Store,  # noqa: F811
    databases: Databases,
    tmp_path: Path,
) -> None:
    file = databases.sqlite().file
    command = [sys.executable, "-c", _CHILD, step, f"http://127.0.0.1:{store.port}", file, tmp_path]
    ended = await asyncio.to_thread(
        subprocess.run, [*map(str, command)], cwd=ROOT, capture_output=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    digest, database = sha256(CONTENT), Database(at_file(file))
    # it is in the folder until all of the steps are done
    assert [path.name for path in files_in(tmp_path)] == [digest]
    assert len(_keys(store)) == (step == "removal")
    again: Any = writer_of(database, tmp_path, store.objects())
    async with again.bucket.running(again.store):
        await again.bucket.send(again.store)
        owners = await AuditStore(database).owners_of(digest)
        if step == "record":
            # no record names it, so it never leaves this machine
            assert not owners
            assert _keys(store) == []
        else:
            assert len(owners) == 1
            assert _keys(store) == [f"a/{digest[:2]}/{digest}"]
            assert files_in(tmp_path) == []
            assert again.bucket.read(digest) == CONTENT
    await database.close()
