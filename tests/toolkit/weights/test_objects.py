"""Sources in object stores, against a real S3 server on loopback and fsspec's own memory store."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import free_port
from toolkit.errors import MissingExtra, SourceError
from toolkit.fields.source import parse_source
from toolkit.home import home
from toolkit.progress import silent
from toolkit.spec import ObjectSource
from toolkit.weights import objects
from toolkit.weights.digest import digest
from toolkit.weights.fetch import fetch

pytestmark = [
    pytest.mark.usefixtures("own_home"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # inside of botocore and moto
]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket `models` on an S3 server of our own."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    # another test of this process may have left one that has no credentials
    s3fs.S3FileSystem.clear_instance_cache()
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=url)
    client.create_bucket(Bucket="models")
    try:
        yield client
    finally:
        client.close()
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()


def put(bucket: Any, **files: bytes) -> None:
    for key, data in files.items():
        bucket.put_object(Bucket="models", Key=key, Body=data)


def get(text: str) -> Path:
    return fetch(parse_source(text), Path(), silent).path


def test_a_folder_comes_as_it_is_without_pickles(bucket: Any) -> None:
    files = {"a/config.json": b"{}", "a/x/model.safetensors": b"w" * 5000, "a/model.bin": b"evil"}
    put(bucket, **files, **{"ab/other": b"not ours"})
    folder = get("s3:models/a")
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == {"config.json": b"{}", "x/model.safetensors": b"w" * 5000}
    assert fetch(parse_source("s3://models/a/"), Path(), silent).digest == digest(folder)


def test_a_file_keeps_its_name_and_a_changed_one_is_fetched_again(bucket: Any) -> None:
    put(bucket, **{"m/tiny.gguf": b"GGUF one"})
    assert get("gguf:s3:models/m/tiny.gguf").name == "tiny.gguf"
    put(bucket, **{"m/tiny.gguf": b"GGUF two"})
    assert get("gguf:s3:models/m/tiny.gguf").read_bytes() == b"GGUF two"
    put(bucket, **{"m/tiny.gguf": b"PK"})
    with pytest.raises(SourceError, match="does not begin with 'GGUF'"):
        get("gguf:s3:models/m/tiny.gguf")


def test_an_unchanged_source_is_not_fetched_again(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, **{"m/config.json": b"{}"})
    first = get("s3:models/m")
    monkeypatch.setattr(objects, "_copy", lambda *_: pytest.fail("fetched again"))
    assert get("s3:models/m") == first


def test_what_is_not_there_is_told(bucket: Any) -> None:
    with pytest.raises(SourceError, match="s3:models/none does not exist or is empty"):
        get("s3:models/none")
    with pytest.raises(SourceError, match="s3:nobody/none"):
        get("s3:nobody/none")


def test_keys_that_leave_the_folder_are_refused(bucket: Any, tmp_path: Path) -> None:
    put(bucket, **{"m/../../escape": b"x", "m/fine": b"y"})
    with pytest.raises(SourceError, match="is outside its folder"):
        get("s3:models/m")
    assert not list(home().rglob("escape"))
    assert not list(home().rglob("fine"))


def test_a_download_that_ends_early_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/m/file", b"12345")
    monkeypatch.setattr(objects, "_store", lambda _: memory)
    monkeypatch.setattr(objects, "_list", lambda *_: [("file", "/bucket/m/file", [9])])
    with pytest.raises(SourceError, match="ended after 5 of 9 bytes"):
        objects.download(ObjectSource("gs", "bucket", "m"), silent)
    assert not [path for path in (home() / "sources").rglob("*") if path.is_file()]
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(("scheme", "library"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_missing_library_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, scheme: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=f"the extra '{scheme}'"):
        get(f"{scheme}:bucket/key")
