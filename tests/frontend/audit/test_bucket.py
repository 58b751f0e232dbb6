"""Artifacts in a real S3 server on loopback: it works, is away, stalls, or has been changed."""

import hashlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from frontend.audit.artifacts import Removal
from frontend.audit.bucket import BucketArtifacts
from frontend.audit.purge import Purge
from frontend.audit.search import Search
from frontend.audit.writer import Pending, Writer
from frontend.domain.audit import Capture
from frontend.errors import NotFound, StoreUnavailable
from frontend.settings.audit import AuditSettings
from frontend.store.audit import AuditStore
from frontend.store.database import Database
from frontend.store.objects import Bucket, Objects, ObjectsUnavailable
from tests.support.audits import START_US, record, uncounted
from tests.support.databases import Databases
from tests.support.processes import free_port

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # inside of botocore and moto
]
SECRET = "secret-canary"


class Store:
    """An S3 server that can be stopped and started again with its objects."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self._new = ThreadedMotoServer
        self.port, self._server = free_port(), None
        self.start()

    def start(self) -> None:
        self._server = self._new("127.0.0.1", self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def objects(self, **more: Any) -> Objects:
        url = f"http://127.0.0.1:{self.port}"
        values = {"region": "us-east-1", "prefix": "a/", "key": ("id", SECRET), "timeout_s": 5.0}
        return Objects(Bucket("audit", url, **{**values, **more}))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    import boto3
    from moto.moto_api import state_manager  # noqa: F401 - its import is part of a server's start

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Store()
    client = _client(made)
    client.create_bucket(Bucket="audit")
    client.close()
    assert boto3
    yield made
    client = _client(made)
    for one in client.list_objects_v2(Bucket="audit").get("Contents", []):
        client.delete_object(Bucket="audit", Key=one["Key"])
    client.delete_bucket(Bucket="audit")
    client.close()
    made.stop()


def _client(store: Store) -> Any:
    import boto3

    return boto3.session.Session().client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{store.port}",
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key=SECRET,
    )


@pytest.fixture
async def database(databases: Databases) -> Any:
    opened = Database(databases.sqlite())
    yield opened
    await opened.close()


def full(number: int, *files: bytes) -> Pending:
    capture = Capture(keeps_text=True)
    capture.read(b'{"messages": []}')
    capture.add_artifacts(list(files), "image/png")
    return Pending(replace(record(number), level="full"), capture)


def writer_of(database: Database, folder: Path, objects: Objects, most: int = 10**6) -> Writer:
    bucket = BucketArtifacts(folder / "artifacts", objects, most, uncounted)
    return Writer(AuditStore(database), folder, 100, 10**6, uncounted, uncounted, bucket)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files_in(folder: Path) -> list[Path]:
    return [path for path in (folder / "artifacts").rglob("*") if path.is_file()]


async def test_an_artifact_moves_to_the_bucket_and_comes_back(
    store: Store, database: Database, tmp_path: Path
) -> None:
    writer = writer_of(database, tmp_path, store.objects())
    assert writer.bucket is not None
    writer.add(full(1, b"an image"))
    await writer.flush()
    digest = sha256(b"an image")
    search = Search(writer.store, writer.artifacts)
    assert await search.artifact(digest) == ("image/png", b"an image")  # from the folder
    await writer.bucket.send(writer.store)
    assert files_in(tmp_path) == []
    assert writer.bucket.waiting_bytes == 0
    assert await search.artifact(digest) == ("image/png", b"an image")
    client = _client(store)
    (kept,) = client.list_objects_v2(Bucket="audit")["Contents"]
    assert kept["Key"] == f"a/{digest[:2]}/{digest}"
    client.put_object(Bucket="audit", Key=kept["Key"], Body=b"another image")
    with pytest.raises(NotFound, match="SHA-256 is different"):
        await search.artifact(digest)
    client.delete_object(Bucket="audit", Key=kept["Key"])
    client.close()
    assert await search.artifact(digest) is None
    writer.bucket.objects.close()


async def test_a_purge_removes_it_there_too(
    store: Store, database: Database, tmp_path: Path
) -> None:
    writer = writer_of(database, tmp_path, store.objects())
    assert writer.bucket is not None
    writer.add(full(1, b"sent"))
    await writer.flush()
    await writer.bucket.send(writer.store)
    writer.add(full(2, b"waits"))
    await writer.flush()
    proofs: list[dict[str, Any]] = []

    async def days() -> Any:
        return lambda _: 1

    async def prove(_: str, details: dict[str, Any]) -> None:
        proofs.append(details)

    now_us = START_US + 10 * 86_400_000_000
    await Purge(writer.store, writer.artifacts, days, prove, lambda: now_us).run()
    (proof,) = proofs
    assert (proof["artifacts"], proof["artifacts_missing"], proof["artifacts_waiting"]) == (2, 0, 0)
    assert files_in(tmp_path) == []
    assert writer.artifacts.read(sha256(b"sent")) is None
    writer.bucket.objects.close()


async def test_a_bucket_that_is_away_holds_up_nothing(
    store: Store, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = writer_of(database, tmp_path, store.objects(timeout_s=0.5), most=20)
    bucket = writer.bucket
    assert bucket is not None
    writer.add(full(1, b"sent"))
    await writer.flush()
    await bucket.send(writer.store)
    store.stop()
    writer.add(full(2, b"waits"))
    await writer.flush()  # the record is written
    with pytest.raises(ObjectsUnavailable) as caught:
        await bucket.send(writer.store)
    assert SECRET not in str(caught.value)
    search = Search(writer.store, writer.artifacts)
    assert await search.artifact(sha256(b"waits")) == ("image/png", b"waits")
    with pytest.raises(StoreUnavailable):
        await search.artifact(sha256(b"sent"))
    lost: list[int] = []
    bounded = replace(bucket, lost=lost.append)
    with pytest.raises(OSError, match="too many"):
        bounded.keep(b"x" * 16)  # beside the five bytes that wait
    assert lost == [1]
    # what is removed meanwhile is noted, and removed once the bucket is back
    await writer.store.remove(record(1).group_id, record(2).id, 10)
    assert bucket.remove(sha256(b"sent")) is Removal.WAITING
    store.start()
    # a process that starts now finds what an earlier one has left
    again = writer_of(database, tmp_path, store.objects())
    assert again.bucket is not None
    async with again.bucket.running(again.store):
        assert again.bucket.waiting_bytes == len(b"waits")
        await again.bucket.send(again.store)
        assert files_in(tmp_path) == []
        assert again.bucket.read(sha256(b"sent")) is None
        assert again.bucket.read(sha256(b"waits")) == b"waits"
    assert SECRET not in caplog.text


async def test_a_file_without_a_record_is_not_sent(
    store: Store, database: Database, tmp_path: Path
) -> None:
    bucket = BucketArtifacts(tmp_path, store.objects(), 10**6, uncounted)
    digest = bucket.keep(b"nobody's")
    await bucket.send(AuditStore(database))
    assert bucket.path(digest).exists()  # its record may come
    import os

    os.utime(bucket.path(digest), (0, 0))
    await bucket.send(AuditStore(database))
    assert not bucket.path(digest).exists()
    assert bucket.objects.get(digest) is None
    bucket.objects.close()


def test_a_store_that_stalls_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        objects = Objects(Bucket("audit", url, "us-east-1", key=("id", SECRET), timeout_s=0.2))
        with pytest.raises(ObjectsUnavailable, match="Timeout"):
            objects.get(sha256(b"x"))
        objects.close()


def test_settings_say_what_is_wrong_and_show_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    for given in (
        {"audit_s3_bucket": "No Bucket"},
        {"audit_s3_endpoint": f"http://user:{SECRET}@x"},
        {"audit_s3_key_file": file},
        {"audit_s3_key_file": tmp_path / "none"},
        {"audit_s3_ca_file": tmp_path},
    ):
        with pytest.raises(ValidationError) as caught:
            AuditSettings(**given)
        assert SECRET not in str(caught.value.errors(include_input=False))
    file.write_text(f"id:{SECRET}\n")
    settings = AuditSettings(audit_s3_key_file=file)
    assert settings.audit_s3_key == ("id", SECRET)
    assert SECRET not in repr(settings) + repr(Bucket("b", key=settings.audit_s3_key))
    logging.getLogger("botocore").setLevel(logging.WARNING)
