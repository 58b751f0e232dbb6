"""Forms that are made to hurt: each is refused with the reason, and nothing of it stays."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.echo import EchoTriton
from tests.support.gateway import Gateway, run_gateway

KIND = "multipart/form-data; boundary=x"
PURPOSE = b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
FILE = b'--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
END = b"\r\n--x--\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def gateway(echo_triton: EchoTriton, folder: Path) -> Iterator[Gateway]:
    flags = ["--data-directory", str(folder), "--max-file-bytes", "1000000"]
    with run_gateway(echo_triton.grpc_address, folder / "log", *flags) as running:
        yield running


def part(name: bytes, value: bytes, *headers: bytes) -> bytes:
    head = b'--x\r\ncontent-disposition: form-data; name="' + name + b'"\r\n'
    return head + b"".join(one + b"\r\n" for one in headers) + b"\r\n" + value + b"\r\n"


BOMBS = {
    "many parts": (b"".join(part(b"%d" % n, b"") for n in range(5000)) + END, "more than 16 parts"),
    "many headers": (part(b"a", b"", *[b"x-%d: y" % n for n in range(5000)]), "header"),
    "a long header": (part(b"a", b"", b"x: " + b"y" * 500_000), "header"),
    "a long field": (part(b"purpose", b"y" * 500_000) + END, "longer than 1024 bytes"),
    "a field twice": (PURPOSE * 2 + END, "more than once"),
    "two files": (PURPOSE + (FILE + b"{}\r\n") * 2 + END, "more than one 'file'"),
    "a part without a name": (b"--x\r\ncontent-type: a/b\r\n\r\n{}" + END, "no name"),
    "an encoded part": (
        PURPOSE + FILE[:-2] + b"content-transfer-encoding: base64\r\n\r\ne30=" + END,
        "must not be encoded",
    ),
    "no end": (PURPOSE + FILE + b"{}", "before its last boundary"),
    "not a form": (b"{}", "not valid"),
    "only boundaries": (b"--x\r\n" * 50_000, "not valid"),
    "no file": (PURPOSE + END, "'file' is required"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_it_is_refused(raw: httpx2.Client, folder: Path, name: str) -> None:
    body, words = BOMBS[name]
    answer = raw.post("/v1/files", content=body, headers={"content-type": KIND})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert words in answer.json()["error"]["message"]
    assert not [one for one in (folder / "files").iterdir() if one.name.startswith("file-")]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=" + "x" * 71, 400),
    ],
)
def test_another_content_type_is_refused(raw: httpx2.Client, kind: str, status: int) -> None:
    body = PURPOSE + FILE + b"{}" + END
    answer = raw.post("/v1/files", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, "content-type")


def test_a_file_of_nearly_boundaries_arrives_as_it_is(raw: httpx2.Client) -> None:
    content = b"\r\n--\r\n-\r\n--y" * 50_000
    headers = {"content-type": KIND}
    sent = raw.post("/v1/files", content=PURPOSE + FILE + content + END, headers=headers)
    assert sent.json()["bytes"] == len(content)
    stored = raw.get(f"/v1/files/{sent.json()['id']}/content")
    assert stored.content == content
    assert stored.headers["content-type"] == "application/octet-stream"
    raw.delete(f"/v1/files/{sent.json()['id']}")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_that_is_too_large_is_refused(raw: httpx2.Client, chunked: bool) -> None:
    body = PURPOSE + FILE + b"x" * 1_500_000 + END
    content = iter([body]) if chunked else body
    answer = raw.post("/v1/files", content=content, headers={"content-type": KIND})
    assert answer.status_code == 413


def test_a_page_of_another_site_cannot_upload(raw: httpx2.Client) -> None:
    headers = {"content-type": KIND, "origin": "https://evil.example"}
    answer = raw.post("/v1/files", content=PURPOSE + FILE + b"{}" + END, headers=headers)
    assert answer.status_code == 403
