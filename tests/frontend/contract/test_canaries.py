"""A word in every place of a request where a caller can write: it is kept nowhere but in `full`."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from frontend.store.database import Database
from frontend.store.location import Location
from tests.frontend.contract.test_audit import Office
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton
from tests.support.gateway import run_gateway
from tests.support.processes import wait_for

pytestmark = pytest.mark.timeout(120)
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def office(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Office]:
    location = databases.sqlite()
    admin = asyncio.run(_with_admin(location))
    folder = tmp_path_factory.mktemp("canaries")
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
    flags += ["--log-format", "json", "--log-file", str(folder / "log.jsonl")]
    flags += ["--log-level", "debug"]
    with run_gateway(echo_triton.grpc_address, folder / "log", *flags) as gateway:
        made = Office(gateway, location, admin)
        made.join("canary-plain")
        made.join("canary-whole", audit="full")
        yield made


async def _with_admin(location: Location) -> str:
    database = Database(location)
    _, key = await add(await opened(database), "chief", "admin")
    await database.close()
    return key


def message(content: Any, **more: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": content}], **more}


def places(word: str) -> list[dict[str, Any]]:
    """Requests that have the word in one place each, as arguments of httpx2's `request`."""
    secret = f"sk-{word}-0123456789abcdef"
    url = f"https://user:{word}@127.0.0.1/{word}.png?sig={word}"
    failure = json.dumps({"text": word, "fail_after": 0})
    marked = {"message": word, "status": 500, "code": "c"}
    image = [{"type": "image_url", "image_url": {"url": url}}]
    function = {"name": word, "description": word, "parameters": {"type": "object"}}
    chat = [
        message(word), message("x", user=word), message("x", stop=[word]),
        {**message("x"), "model": word}, {**message("x"), word: 1}, message("x", n=word),
        message("x", metadata={word: word}), message(image), message(failure),
        message(failure, stream=True), message(json.dumps({"fail_after": 0, "error": marked})),
        message("x", tools=[{"type": "function", "function": function}]),
        message("x", tool_choice={"type": "function", "function": {"name": word}}),
        message("x", response_format={"type": "json_schema", "json_schema": {"name": word}}),
        message([{"type": word}]), {"messages": [{"role": word, "content": "x"}]},
    ]  # fmt: skip
    file = {"file": (f"{word}.jsonl", f'{{"custom_id": "{word}"}}'.encode())}
    found: list[dict[str, Any]] = [{"url": CHAT, "json": body} for body in chat]
    return [
        *found,
        {"url": CHAT, "content": f'{{"model": "{word}'.encode()},
        {"url": CHAT, "content": word.encode(), "headers": {"content-type": f"text/{word}"}},
        {"url": CHAT, "json": message("x"), "headers": {"x-request-id": secret}},
        {"url": CHAT, "json": message("x"), "headers": {"authorization": f"Bearer {word}"}},
        {"url": CHAT, "json": message("x"), "headers": {f"x-{word}": word, "user-agent": word}},
        {"url": CHAT, "json": message("x"), "headers": {"cookie": word, "referer": url}},
        {"url": CHAT, "json": message("x"), "headers": {"origin": f"https://{word}.example"}},
        {"url": CHAT, "json": message("x"), "headers": {"x-forwarded-for": word}},
        {"url": CHAT, "json": message("x"), "headers": {"traceparent": word, "tracestate": word}},
        {"url": f"{CHAT}?{word}={word}", "json": message("x")},
        {"url": f"/{word}", "json": {}},
        {"url": f"/v1/models/{word}", "method": "GET"},
        {"url": f"/v1/files/{word}", "method": "GET"},
        {"url": "/v1/files", "files": file, "data": {"purpose": word, word: word}},
        {"url": "/v1/embeddings", "json": {"model": "echo", "input": word}},
        {"url": "/v1/completions", "json": {"model": "echo", "prompt": word, "suffix": word}},
        {"url": "/v1/responses", "json": {"model": "echo", "input": word, "store": False}},
        {"url": "/v1/messages", "json": message(word, max_tokens=3, system=word)},
        {"url": "/api/chat", "json": message(word)},
        {"url": "/api/generate", "json": {"model": "echo", "prompt": word, "keep_alive": word}},
    ]


def send(office: Office, name: str, word: str) -> int:
    """Sends all of them; returns how many there are."""
    headers = {"authorization": f"Bearer {office.keys[name]}"}
    with httpx2.Client(base_url=office.gateway.url, timeout=30) as client:
        sent = places(word)
        for one in sent:
            more = {**headers, **one.get("headers", {})}
            answer = client.request(**{"method": "POST", **one, "headers": more})
            assert answer.status_code != 500, answer.text
    return len(sent)


def written(office: Office) -> list[Path]:
    folder = office.gateway.log.parent
    return [office.gateway.log, folder / "log.jsonl"]


def test_a_word_of_a_request_is_kept_nowhere(office: Office) -> None:
    word = "canaryplainword"
    before = len(written(office)[1].read_text().splitlines())
    sent = send(office, "canary-plain", word)

    def requests() -> int:
        lines = written(office)[1].read_text().splitlines()[before:]
        return sum(json.loads(line)["message"] == "request" for line in lines)

    wait_for(lambda: requests() >= sent, 20, "a line for each request")
    user = office.users["canary-plain"]
    wait_for(lambda: len(office.search(user_id=user, limit=200)) >= sent - 6, 20, "the records")
    places_to_look = {
        **{str(path): path.read_text() for path in written(office)},
        "metrics": office.ask("GET", "/metrics").text,
        "audit": office.ask("GET", "/admin/audit/search?format=jsonl").text,
        "events": office.ask("GET", "/admin/audit/search?format=csv").text,
        "status": office.ask("GET", "/admin/status").text,
        "others": office.chat(office.keys["canary-whole"], "x", colour=1).text,
    }
    assert [where for where, text in places_to_look.items() if word in text] == []
    for line in places_to_look[str(written(office)[0])].splitlines():
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys()


def test_a_policy_of_full_keeps_it_in_the_audit_alone(office: Office) -> None:
    word = "canarywholeword"
    send(office, "canary-whole", word)
    wait_for(lambda: office.search(text=word), 20, "a record")
    assert [path for path in written(office) if word in path.read_text()] == []
    assert word not in office.ask("GET", "/metrics").text


def test_the_words_of_an_upstreams_error_are_in_full_records_alone(office: Office) -> None:
    words, failing = "scripted failure", json.dumps({"text": "x", "fail_after": 0})
    found = {}
    for name in ("canary-plain", "canary-whole"):
        key, user = office.keys[name], office.users[name]
        stored = len(office.search(user_id=user, status="5xx", limit=200))
        for stream in (False, True):
            answer = office.chat(key, failing, stream=stream)
            assert words not in answer.text
        wait_for(
            lambda user=user, stored=stored: (
                len(  # type: ignore[misc]
                    office.search(user_id=user, status="5xx", limit=200)
                )
                >= stored + 2
            ),
            20,
            "both records",
        )
        newest = office.search(user_id=user, status="5xx", limit=1)[0]["id"]
        found[name] = office.ask("GET", f"/admin/audit/records/{newest}")
        for own in (f"/me/audit/{newest}", "/me/audit?content=true", "/me/audit?format=jsonl"):
            shown = office.ask("GET", own, key)
            assert shown.status_code == 200
            assert words not in shown.text
    assert words in found["canary-whole"].json()["answer"]["failure"]
    assert words not in found["canary-plain"].text
    assert [path for path in written(office) if words in path.read_text()] == []
    assert words not in office.ask("GET", "/metrics").text
    # who can search their own records cannot find out the words one by one
    assert office.search(text="scripted") == []
