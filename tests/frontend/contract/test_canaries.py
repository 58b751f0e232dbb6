"""A word in every place of a request where a caller can write: it is kept nowhere but in `full`."""

import asyncio
import base64
import io
import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
from openai import OpenAI
from PIL import Image, PngImagePlugin

from frontend.openapi.operations import OPERATIONS
from tests.frontend.contract.test_audit import Office, _with_admin
from tests.frontend.contract.test_batches import finished, line
from tests.support.collector import Collector, collecting
from tests.support.databases import Databases
from tests.support.echo import EchoTriton
from tests.support.gateway import run_gateway
from tests.support.places import (
    READ_BY_HAND,
    WORD,
    declarations,
    declared,
    name_of,
    requests,
)
from tests.support.processes import wait_for
from tests.support.redis import RedisServer
from tests.support.sinks import FakeSink, fake_sink

CHAT, KIND = "/v1/chat/completions", "content-type"
_FULL_SEARCH = "/admin/audit/search?format=jsonl&content=true"
_SHOWN = (
    "/metrics", "/admin/metrics", "/admin/metrics/history", "/admin/status", "/admin/overview",
    "/admin/alerts", "/admin/queue", "/admin/queue/decisions?limit=200", "/admin/usage?by=model",
    _FULL_SEARCH, "/admin/audit/search?format=csv",
    "/admin/cache", "/admin/settings", "/me/audit?format=jsonl",
)  # fmt: skip


@dataclass
class Watched:
    """A gateway with everything that it can write to."""

    office: Office
    folder: Path
    triton: EchoTriton
    redis: RedisServer
    collector: Collector
    sinks: list[FakeSink]
    words: dict[str, str] = field(default_factory=dict)
    """Places by their words."""

    def word(self, where: str) -> str:
        """A new word for a place."""
        made = f"canary{len(self.words):06d}word"
        self.words[made] = where
        return made

    def send(self, user: str, sent: list[dict[str, Any]]) -> Counter[int]:
        """Sends requests, given as arguments of httpx2's `request`; how many had which status."""
        keys, base = self.office.keys, self.office.gateway.url

        def one(given: dict[str, Any]) -> int:
            headers = {"authorization": f"Bearer {keys[user]}", **given.get("headers", {})}
            with client.stream(**{"method": "POST", **given, "headers": headers}) as answer:
                # a live view never ends
                if given.get("method") != "GET" or "event-stream" not in answer.headers.get(
                    KIND, ""
                ):
                    answer.read()
                    assert answer.status_code != 500, (given, answer.text)
            return answer.status_code

        with httpx2.Client(base_url=base, timeout=60) as client, ThreadPoolExecutor(4) as pool:
            return Counter(pool.map(one, sent))

    def filled(self, where: str, method: str, url: str, body: Any) -> dict[str, Any]:
        """A request with a new word in its place."""
        word = self.word(where)
        given: dict[str, Any] = {"method": method, "url": url.replace(WORD, word)}
        if body is not None:
            given["content"] = json.dumps(body).replace(WORD, word).encode()
            given["headers"] = {"content-type": "application/json"}
        return given

    def kept(self) -> dict[str, bytes]:
        """Everything that is kept and shown, by where that is."""
        found = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }
        file = self.office.location.file
        assert file is not None
        found |= {one.name: one.read_bytes() for one in file.parent.glob(f"{file.name}*")}
        found |= {path: self.office.ask("GET", path).content for path in _SHOWN}
        found |= {f"sink {n}": json.dumps(one.lines).encode() for n, one in enumerate(self.sinks)}
        found |= {"traces": b"".join(self.collector.bodies), "redis": everything_in(self.redis)}
        return found | {"Triton's log": self.triton.log.read_bytes()}

    def leaks(self, begun: int) -> dict[str, set[str]]:
        """Where words are that were made after the first `begun`, with their places."""
        mine = [*self.words.items()][begun:]
        found = {}
        for name, data in self.kept().items():
            if here := {where for word, where in mine if word.encode() in data}:
                found[name] = here
        return found


def everything_in(server: RedisServer) -> bytes:
    """The names and values of all keys."""
    with redis.Redis.from_url(server.url) as client:
        read = {
            b"string": client.get, b"hash": client.hgetall, b"set": client.smembers,
            b"zset": lambda key: client.zrange(key, 0, -1), b"stream": client.xrange,
            b"list": lambda key: client.lrange(key, 0, -1),
        }  # fmt: skip
        return repr([(key, read[client.type(key)](key)) for key in client.keys("*")]).encode()


@pytest.fixture(scope="module")
def watched(
    echo_triton: EchoTriton,
    redis_server: RedisServer,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    location = databases.sqlite()
    admin = asyncio.run(_with_admin(location))
    folder = tmp_path_factory.mktemp("canaries")
    (folder / "tmp").mkdir()
    with ExitStack() as stack:
        collector = stack.enter_context(collecting())
        # the last one never accepts anything, so that its lines stay on disk
        sinks = [stack.enter_context(fake_sink(mode)) for mode in ("accept", "accept", "fail")]
        flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
        flags += ["--log-format", "json", "--log-file", str(folder / "log.jsonl")]
        flags += ["--log-level", "debug", "--traces-url", collector.url, "--traces-text"]
        flags += ["--redis-url", redis_server.url, "--data-directory", str(folder / "data")]
        flags += ["--metrics-by-user", "--max-refused-per-minute", "1000000"]
        for name, sink in zip(("elastic", "splunk", "loki"), sinks, strict=True):
            flags += [f"--log-{name}-url", sink.url]
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("TMPDIR", str(folder / "tmp"))
        gateway = stack.enter_context(run_gateway(echo_triton.grpc_address, folder / "log", *flags))
        office = Office(gateway, location, admin, keys={"chief": admin})
        for name, policy in (("plain", {}), ("none", {"audit": "none"}), ("whole", FULL)):
            office.join(f"canary-{name}", **policy)
        yield Watched(office, folder, echo_triton, redis_server, collector, sinks)


FULL = {"audit": "full"}


def settle(watched: Watched) -> None:
    """Returns when what was done so far is written everywhere."""
    last = watched.office.ask("GET", "/v1/models").headers["x-request-id"]
    watched.office.one(request_id=last)
    for path in ("log", "log.jsonl"):
        file = watched.folder / path
        wait_for(lambda file=file: last in file.read_text(), what=f"the last line in {file}")  # type: ignore[misc]
    for sink in watched.sinks[:2]:
        wait_for(lambda sink=sink: last in json.dumps(sink.lines), what="the last line")  # type: ignore[misc]


def test_every_declaration_of_a_body_has_its_places() -> None:
    """One that is read by hand, and not named, would not be written to below."""
    by_hand = {name_of(kind) for kind in declarations() - declared()}
    assert by_hand == READ_BY_HAND.keys() | {"bodies.NoBody"}


def test_a_word_in_any_declared_place_is_kept_nowhere(watched: Watched) -> None:
    protocols = [one for one in OPERATIONS if one.tag != "Accounts"]
    sent = list(requests(protocols))
    assert {one.path for one in protocols if one.body} <= {where.split()[1] for where, *_ in sent}

    begun = len(watched.words)
    statuses = watched.send("canary-plain", [watched.filled(*one) for one in sent])
    settle(watched)
    assert watched.leaks(begun) == {}
    # the others are refused; these get as far as any request
    assert statuses[200] > len(sent) / 8, statuses


def by_hand(watched: Watched) -> list[dict[str, Any]]:
    """Requests with a word in each place that is not a part of a declared body."""
    word = watched.word
    failing = {"text": "x", "fail_after": 0}
    hello = json.dumps(message("x"))
    chat = {"url": CHAT, "headers": {"content-type": "application/json"}}

    def with_header(name: str, value: str) -> dict[str, Any]:
        made = word(f"header {name}")
        head = {name.replace(WORD, made): value.replace(WORD, made)}
        return {"url": CHAT, "content": hello, "headers": chat["headers"] | head}

    def with_body(where: str, body: str) -> dict[str, Any]:
        return {**chat, "content": body.replace(WORD, word(where)).encode()}

    return [
        with_header("x-request-id", f"sk-{WORD}-0123456789abcdef"),
        with_header("authorization", f"Bearer {WORD}"),
        with_header("authorization", f"Basic {WORD}"),
        with_header("x-api-key", WORD),
        *(with_header(name, WORD) for name in _HEADERS),
        with_header("origin", f"https://{WORD}.example"),
        with_header("referer", f"https://user:{WORD}@host/{WORD}?{WORD}"),
        with_header("content-type", f"text/{WORD}"),
        {"url": f"/{word('an unknown path')}"},
        {"url": f"/v1/{word('an unknown path of an API')}/x", "method": "PUT"},
        {"url": CHAT, "method": word("a method")},
        with_body("cut JSON", f'{{"model": "{WORD}'),
        with_body("not JSON", WORD),
        with_body("not UTF-8", f'{{"model": "{WORD}\udcff"}}'.encode("utf-8", "ignore").decode()),
        with_body("a repeated name", f'{{"{WORD}": 1, "{WORD}": 2}}'),
        with_body("too deep", "[" * 3000 + f'"{WORD}"'),
        with_body("too large", json.dumps(message(WORD + "x" * 30_000_000))),
        with_body("a prompt that fails", json.dumps(message(json.dumps(failing | {"k": WORD})))),
        with_body(
            "a stream that fails",
            json.dumps(message(json.dumps(failing | {"text": WORD, "fail_after": 1}), stream=True)),
        ),
        with_body(
            "an upstream's error",
            json.dumps(
                message(
                    json.dumps(
                        {"fail_after": 0, "error": {"message": WORD, "status": 500, "code": WORD}}
                    )
                )
            ),
        ),
        with_body("an image's file", json.dumps(message([image_part(WORD)]))),
        *(
            {"url": "/v1/files", **upload}
            for upload in (
                {"files": {"file": (f"{word('a file name')}.jsonl", b"{}")}, "data": PURPOSE},
                {"files": {"file": ("x.jsonl", b"{}")}, "data": {"purpose": word("a purpose")}},
                {"files": {"file": ("x.jsonl", b"{}", word("a type"))}, "data": PURPOSE},
                {"files": {word("a part's name"): ("x.jsonl", b"{}")}, "data": PURPOSE},
                {"files": {"file": ("x.txt", word("not lines").encode())}, "data": PURPOSE},
            )
        ),
        *(
            {"url": path, "data": {name: word(f"the form {path} {name}")}}
            for path in ("/login", "/login/password", "/login/code", "/login/enrol")
            for name in ("name", "password", "next", "code", "current_password", "new_password")
        ),
        {"url": f"/login?next={word('the next page')}", "method": "GET"},
    ]


PURPOSE = {"purpose": "wrong"}
_HEADERS = (
    f"x-{WORD}", "user-agent", "cookie", "host", "x-forwarded-for", "x-forwarded-host",
    "forwarded", "x-real-ip", "traceparent", "baggage", "x-session-id", "idempotency-key",
    "x-cache-control", "cache-control", "if-none-match", "accept", "accept-language",
    "openai-organization", "openai-project", "anthropic-version", "anthropic-beta", "range",
    "expect", "x-stainless-lang",
)  # fmt: skip


def image_part(word: str) -> dict[str, Any]:
    """A picture whose file has a text in it."""
    file, text = io.BytesIO(), PngImagePlugin.PngInfo()
    text.add_text("comment", word)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=text)
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def message(content: Any, **more: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": content}], **more}


@pytest.mark.parametrize("user", ["canary-plain", "canary-none"])
def test_a_word_outside_of_the_body_is_kept_nowhere(watched: Watched, user: str) -> None:
    begun = len(watched.words)
    watched.send(user, by_hand(watched))
    settle(watched)
    assert watched.leaks(begun) == {}


@pytest.mark.parametrize(
    "head",
    [
        f"{WORD} / HTTP/1.1", f"GET {WORD} HTTP/1.1", f"GET /{WORD} {WORD}/1.1", WORD,
        f"GET / HTTP/1.1\r\nhost: x\r\n{WORD}", f"GET / HTTP/1.1\r\nhost: x\r\n{WORD} x: 1",
        f"GET / HTTP/1.1\r\nhost: x\r\nx-y: a\0{WORD}", f"GET / HTTP/1.1\r\nhost: {WORD} {WORD}",
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {WORD}",
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: {WORD}",
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{WORD}",
        f"GET /%zz{WORD} HTTP/1.1\r\nhost: x", f"GET http://{WORD}:{WORD}@x/ HTTP/1.1\r\nhost: x",
        f"GET / HTTP/1.1\r\nhost: x\r\nupgrade: {WORD}\r\nconnection: upgrade, {WORD}",
        f"GET / HTTP/1.1\r\nhost: x\r\nx-y: {WORD * 9000}",
    ],
)  # fmt: skip
def test_a_word_in_a_broken_head_is_kept_nowhere(watched: Watched, head: str) -> None:
    begun = len(watched.words)
    text = f"{head}\r\n\r\n".replace(WORD, watched.word(head[:80]))
    with socket.create_connection(("127.0.0.1", watched.office.gateway.port), 30) as client:
        client.sendall(text.encode())
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    settle(watched)
    for found in re.findall(rb"x-request-id: (\w+)", answer):
        lines = (watched.folder / "log.jsonl").read_text().splitlines()
        assert [line for line in lines if json.loads(line).get("id") == found.decode()]
    assert watched.leaks(begun) == {}


def test_a_batch_is_kept_in_its_files_alone(watched: Watched) -> None:
    """They are the caller's own, until they are deleted."""
    begun = len(watched.words)
    words = {name: watched.word(name) for name in ("prompt", "id", "file", "wrong")}
    lines = [
        line(1, messages=message(words["prompt"])["messages"]) | {"custom_id": words["id"]},
        line(2, n=words["wrong"]),
    ]
    with OpenAI(
        base_url=watched.office.gateway.url + "/v1", api_key=watched.office.keys["canary-plain"]
    ) as client:
        content = "\n".join(map(json.dumps, lines)).encode()
        file = client.files.create(file=(f"{words['file']}.jsonl", content), purpose="batch")
        made = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        ended = finished(client, made.id)
        assert ended.request_counts is not None
        assert (ended.request_counts.completed, ended.request_counts.failed) == (1, 1)
        settle(watched)
        own = {f"data/files/{one}" for one in (file.id, ended.output_file_id, ended.error_file_id)}
        database = watched.office.location.file
        assert database is not None
        tables = {database.name, f"{database.name}-wal"}
        leaks = watched.leaks(begun)
        assert leaks.keys() - tables <= own
        # the database has the file's name, and neither prompts nor answers
        assert set().union(*(leaks.get(one, set()) for one in tables)) <= {"file"}
        for name in (file.id, ended.output_file_id, ended.error_file_id):
            client.files.delete(str(name))
    assert watched.leaks(begun).keys() <= tables


def test_fields_of_accounts_are_shown_where_they_belong(watched: Watched) -> None:
    """Names and reasons are for the database, and its secrets are for nobody."""
    begun = len(watched.words)
    accounts = [one for one in OPERATIONS if one.tag == "Accounts"]
    watched.send("chief", [watched.filled(*one) for one in requests(accounts)])
    settle(watched)
    leaks, file = watched.leaks(begun), watched.office.location.file
    assert file is not None
    assert leaks.keys() <= {file.name, f"{file.name}-wal"}
    kept = set().union(*leaks.values())
    assert "POST /admin/groups .name" in kept
    assert not [place for place in kept if re.search("password|code|secret|key_file", place)]


def test_a_policy_of_full_keeps_it_in_the_audit_alone(watched: Watched) -> None:
    begun = len(watched.words)
    sent = [watched.filled(*one) for one in requests([CHATTING])]
    watched.send("canary-whole", sent + by_hand(watched))
    settle(watched)
    file = watched.office.location.file
    assert file is not None
    allowed = {file.name, f"{file.name}-wal", "traces", _FULL_SEARCH}
    found = watched.leaks(begun)
    assert _FULL_SEARCH in found
    assert {one for one in found if not one.startswith("data/audit/artifacts/")} <= allowed


CHATTING = next(one for one in OPERATIONS if one.path == CHAT)
