"""Files and batches by the official SDK: every line is answered once, whatever ends the process."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI
from openai.types import Batch

from frontend.accounts.keyfile import add_key
from frontend.accounts.roles import USER
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import wait_for

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def gateway(echo_triton: EchoTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With a database of its own: only one process runs the batches of each."""
    folder = tmp_path_factory.mktemp("batches")
    with start(echo_triton, folder / "data", folder / "log") as running:
        yield running


def line(number: int, url: str = CHAT, **body: Any) -> dict[str, Any]:
    body = {"model": "echo", "messages": script(text=f"answer {number}"), **body}
    return {"custom_id": f"line-{number}", "method": "POST", "url": url, "body": body}


def upload(client: OpenAI, lines: list[dict[str, Any]], **more: Any) -> str:
    content = "\n".join(map(json.dumps, lines)).encode()
    return client.files.create(file=("in.jsonl", content), purpose="batch", **more).id


def run(client: OpenAI, lines: list[dict[str, Any]], endpoint: Any = CHAT) -> Batch:
    made = client.batches.create(
        input_file_id=upload(client, lines),
        endpoint=endpoint,
        completion_window="24h",
        metadata={"for": "a test"},
    )
    assert made.status == "validating"
    return finished(client, made.id)


def finished(client: OpenAI, batch_id: str) -> Batch:
    ended = {"completed", "failed", "expired", "cancelled"}
    wait_for(lambda: client.batches.retrieve(batch_id).status in ended, what="the batch's end")
    return client.batches.retrieve(batch_id)


def answers(client: OpenAI, file_id: str | None) -> dict[str, dict[str, Any]]:
    if file_id is None:
        return {}
    lines = [json.loads(one) for one in client.files.content(file_id).text.splitlines()]
    by_id = {one["custom_id"]: one for one in lines}
    assert len(by_id) == len(lines), "a line was answered twice"
    return by_id


def test_a_batch_from_file_to_answers(client: OpenAI) -> None:
    lines = [line(number) for number in range(20)]
    lines[7]["body"]["temperature"] = 9
    lines[8]["body"]["model"] = "nobody"
    batch = run(client, lines)
    assert batch.status == "completed"
    counts = batch.request_counts
    assert counts is not None
    assert (counts.total, counts.completed, counts.failed) == (20, 18, 2)
    assert batch.metadata == {"for": "a test"}
    assert batch.created_at <= (batch.in_progress_at or 0) <= (batch.completed_at or 0)
    found = answers(client, batch.output_file_id)
    assert len(found) == 18
    response = found["line-3"]["response"]
    assert response["status_code"] == 200
    assert response["body"]["choices"][0]["message"]["content"] == "answer 3"
    failed = answers(client, batch.error_file_id)
    assert failed["line-7"]["response"]["body"]["error"]["param"] == "temperature"
    assert failed["line-8"]["response"]["status_code"] == 404
    assert failed["line-7"]["error"] is None
    usages = [one["response"]["body"]["usage"] for one in found.values()]
    assert batch.usage is not None
    assert batch.usage.input_tokens == sum(one["prompt_tokens"] for one in usages)
    assert batch.usage.output_tokens == sum(one["completion_tokens"] for one in usages) > 0
    assert batch.usage.total_tokens == batch.usage.input_tokens + batch.usage.output_tokens
    assert client.files.retrieve(batch.output_file_id or "").purpose == "batch_output"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/embeddings", {"model": "echo-embedding", "input": ["a", "b"]}),
        ("/v1/completions", {"model": "echo", "prompt": "a b", "max_tokens": 4}),
        ("/v1/responses", {"model": "echo", "input": "a b"}),
    ],
)
def test_other_routes(client: OpenAI, endpoint: Any, body: dict[str, Any]) -> None:
    lines = [{"custom_id": "x", "method": "POST", "url": endpoint, "body": body}]
    batch = run(client, lines, endpoint)
    answer = answers(client, batch.output_file_id)["x"]["response"]
    assert answer["status_code"] == 200
    assert answer["body"]["model"] == body["model"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", None),
        ("{", "invalid_json_line"),
        ("[1]", "invalid_json_line"),
        (json.dumps({**line(0), "url": "/v1/embeddings"}), "url_mismatch"),
        (json.dumps({**line(0), "method": "GET"}), "invalid_method"),
        (json.dumps({**line(0), "custom_id": ""}), "invalid_value"),
        (json.dumps({**line(0), "extra": 1}), "unknown_parameter"),
        (json.dumps(line(0, stream=True)), "unsupported_parameter"),
        (
            json.dumps({"custom_id": "a", "method": "POST", "url": CHAT}),
            "missing_required_parameter",
        ),
        (json.dumps(line(0)) + "\n" + json.dumps(line(0)), "duplicate_custom_id"),
        ('{"a":' * 100 + "1" + "}" * 100, "invalid_json_line"),
    ],
)
def test_a_file_that_cannot_run(client: OpenAI, text: str, code: str | None) -> None:
    if code is None:
        with pytest.raises(openai.BadRequestError, match="empty"):
            client.files.create(file=("x", b""), purpose="batch")
        return
    made = client.files.create(file=("x", text.encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=made.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    batch = finished(client, batch.id)
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [one.code for one in batch.errors.data] == [code]
    assert batch.errors.data[0].line == text.count("\n") + 1


def test_files_are_listed_in_pages_and_deleted(client: OpenAI) -> None:
    ids = [
        upload(client, [line(0)], expires_after={"anchor": "created_at", "seconds": 3600})
        for _ in range(3)
    ]
    listed = client.files.list(limit=2, order="desc")
    assert [one.id for one in listed.data] == [ids[2], ids[1]]
    assert listed.has_more
    assert ids[0] in [one.id for one in listed]  # the SDK reads every page
    shown = client.files.retrieve(ids[0])
    assert shown.expires_at == shown.created_at + 3600
    assert client.files.delete(ids[0]).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(ids[0])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "purpose"),
        ({"purpose": "assistants"}, "purpose"),
        ({"purpose": "batch", "model": "x"}, "model"),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, "expires_after[anchor]"),
        (
            {
                "purpose": "batch",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "1",
            },
            "expires_after[seconds]",
        ),
    ],
)
def test_an_upload_is_refused_by_field(
    raw: httpx2.Client, fields: dict[str, str], param: str
) -> None:
    answer = raw.post("/v1/files", data=fields, files={"file": ("x", b"{}")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_batch_needs_its_fields(client: OpenAI, raw: httpx2.Client) -> None:
    good = {
        "input_file_id": upload(client, [line(0)]),
        "endpoint": CHAT,
        "completion_window": "24h",
    }
    for name, value in (
        ("endpoint", "/v1/images/generations"),
        ("completion_window", "1h"),
        ("input_file_id", "file-x"),
        ("metadata", {"a": 1}),
    ):
        answer = raw.post("/v1/batches", json={**good, name: value})
        assert answer.status_code == 400, name
        assert (answer.json()["error"]["param"] or "").startswith(name)


def test_cancelling_ends_a_batch_and_says_so_for_each_line(client: OpenAI) -> None:
    lines = [line(number, messages=script(text="x", never_finish=True)) for number in range(30)]
    lines[0] = line(0)
    file_id = upload(client, lines)
    made = client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
    wait_for(
        lambda: (client.batches.retrieve(made.id).request_counts or counts()).completed == 1,
        what="the first answer",
    )
    with pytest.raises(openai.BadRequestError, match="still reads this file"):
        client.files.delete(file_id)
    assert client.batches.cancel(made.id).status == "cancelling"
    batch = finished(client, made.id)
    assert batch.status == "cancelled"
    assert set(answers(client, batch.output_file_id)) == {"line-0"}
    missing = answers(client, batch.error_file_id)
    assert len(missing) == 29
    assert {one["error"]["code"] for one in missing.values()} == {"batch_cancelled"}
    with pytest.raises(openai.BadRequestError, match="cannot be cancelled"):
        client.batches.cancel(made.id)
    assert client.files.delete(file_id).deleted


def counts() -> Any:
    return Batch.model_construct(completed=0)


def test_others_do_not_wait_for_a_batch(client: OpenAI) -> None:
    lines = [line(number, messages=script(text="x", never_finish=True)) for number in range(40)]
    file_id = upload(client, lines)
    made = client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
    wait_for(lambda: client.batches.retrieve(made.id).status == "in_progress", what="a start")
    answer = client.chat.completions.create(model="echo", messages=script(text="now"))
    assert answer.choices[0].message.content == "now"
    client.batches.cancel(made.id)
    finished(client, made.id)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def start(triton: EchoTriton, folder: Path, log: Path, *flags: str) -> Any:
    return run_gateway(triton.grpc_address, log, "--data-directory", str(folder), *flags)


def sdk(gateway: Gateway, key: str = "unused") -> OpenAI:
    return OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0)


def test_a_killed_process_loses_no_line_and_answers_none_twice(
    echo_triton: EchoTriton, folder: Path, tmp_path: Path
) -> None:
    said = [script(text=f"{number}", first_delay_ms=40) for number in range(120)]
    lines = [line(number, messages=messages) for number, messages in enumerate(said)]
    with start(echo_triton, folder, tmp_path / "log") as gateway, sdk(gateway) as client:
        file_id = upload(client, lines)
        made = client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
        kill_beyond(gateway, folder, file_id, 15)
    with next(iter(outputs(folder, file_id))).open("ab") as file:
        file.write(b'{"id":"batch_req_x","custom_id":"line-')  # killed in the middle of a line
    with start(echo_triton, folder, tmp_path / "log") as gateway:
        kill_beyond(gateway, folder, file_id, 45)
    with start(echo_triton, folder, tmp_path / "log") as gateway, sdk(gateway) as client:
        batch = finished(client, made.id)
        found = answers(client, batch.output_file_id)
    assert batch.status == "completed"
    assert set(found) == {one["custom_id"] for one in lines}
    for number in range(120):
        content = found[f"line-{number}"]["response"]["body"]["choices"][0]["message"]["content"]
        assert content == str(number)
    modes = {path.stat().st_mode & 0o777 for path in (folder / "files").iterdir()}
    assert modes == {0o600}


def kill_beyond(gateway: Gateway, folder: Path, file_id: str, count: int) -> None:
    """Ends the process as soon as more than `count` answers are written, before there are 120."""

    def written() -> int:
        return sum(one.read_bytes().count(b"\n") for one in outputs(folder, file_id))

    wait_for(lambda: written() > count, what="some answers")
    gateway.process.send_signal(signal.SIGKILL)
    gateway.process.wait()
    assert written() < 120


def outputs(folder: Path, file_id: str) -> list[Path]:
    return [
        one
        for one in (folder / "files").glob("file-*")
        if one.name != file_id and one.stat().st_size
    ]


def test_nobody_sees_anothers_files_and_everybody_has_a_bound(
    echo_triton: EchoTriton, folder: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    first, second = (add_key(keys, name, USER.name) for name in ("anna", "ben"))
    flags = ["--keys-file", str(keys), "--max-files-bytes", "20000", "--max-file-bytes", "15000"]
    with (
        start(echo_triton, folder, tmp_path / "log", *flags) as gateway,
        sdk(gateway, first) as anna,
        sdk(gateway, second) as ben,
    ):
        file_id = upload(anna, [line(0)])
        batch_id = anna.batches.create(
            input_file_id=file_id, endpoint=CHAT, completion_window="24h"
        ).id
        assert finished(anna, batch_id).status == "completed"
        for refused in (
            lambda: ben.files.retrieve(file_id),
            lambda: ben.files.content(file_id),
            lambda: ben.files.delete(file_id),
            lambda: ben.batches.retrieve(batch_id),
            lambda: ben.batches.cancel(batch_id),
        ):
            with pytest.raises(openai.NotFoundError):
                refused()
        with pytest.raises(openai.BadRequestError):
            ben.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
        assert not ben.files.list().data
        assert not ben.batches.list().data
        anna.files.create(file=("x", b"x" * 14_000), purpose="batch")
        for size, words in ((14_000, "more than 20000"), (16_000, "larger than 15000")):
            with pytest.raises(openai.APIStatusError, match=words) as refusal:
                anna.files.create(file=("x", b"x" * size), purpose="batch")
            assert refusal.value.status_code == 413
        ben.files.create(file=("x", b"x" * 14_000), purpose="batch")
        with pytest.raises(openai.AuthenticationError), sdk(gateway, "no") as nobody:
            nobody.files.list()
