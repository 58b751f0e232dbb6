"""The response cache for every kind of model and dialect, and for every scope."""

import asyncio
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.keys import NewKey
from frontend.accounts.directory.users import NewUser
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.gateway import run_gateway
from tests.support.processes import wait_for

USERS = {"ann": "red", "bob": "red", "cid": "blue", "dan": "green"}
"""Groups of users: red and blue are of one organisation."""


class Desk:
    """A gateway whose groups share answers in three ways, and its users."""

    def __init__(self, url: str, keys: dict[str, str]) -> None:
        self.keys = keys
        self.api = httpx2.Client(base_url=url, timeout=60)

    def post(self, user: str, path: str, body: dict[str, Any]) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.keys[user]}"}
        answer = self.api.post(path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer

    def results(self, path: str, body: dict[str, Any], *users: str) -> list[str | None]:
        """`x-cache` of the same request of several users, one after another."""
        return [self.post(user, path, body).headers.get("x-cache") for user in users]


@pytest.fixture(params=["user", "group", "organisation"])
def scope(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def desk(
    echo_triton: EchoTriton,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
    scope: str,
) -> Iterator[Desk]:
    location = databases.sqlite()
    keys = asyncio.run(_people(location))
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
    flags += ["--cache", "deterministic", "--cache-scope", scope]
    log = tmp_path_factory.mktemp("kinds") / "log"
    with run_gateway(echo_triton.grpc_address, log, *flags) as gateway:
        made = Desk(gateway.url, keys)
        yield made
        made.api.close()


async def _people(location: Location) -> dict[str, str]:
    database = Database(location)
    directory = await opened(database)
    near = await directory.organisations.create(OPERATOR, "near")
    far = await directory.organisations.create(OPERATOR, "far")
    groups, keys = {}, {}
    for name, organisation in (("red", near), ("blue", near), ("green", far)):
        made = await directory.groups.create(OPERATOR, name, organisation.id, 1)
        groups[name] = made.id
    users = [("ops", NewUser("ops", "admin"))]
    users += [(n, NewUser(n, "student", group_id=groups[g])) for n, g in USERS.items()]
    for name, new in users:
        user = await directory.users.create(OPERATOR, new)
        key = await directory.keys.create(OPERATOR, user.id, NewKey())
        assert key.text is not None
        keys[name] = key.text
    await database.close()
    return keys


def chat(text: str) -> dict[str, Any]:
    return {"model": "echo", "messages": script(text=text), "temperature": 0}


EXPECTED = {
    "user": ["miss", "miss", "miss", "miss", "hit"],
    "group": ["miss", "hit", "miss", "miss", "hit"],
    "organisation": ["miss", "hit", "hit", "miss", "hit"],
}


def test_no_kind_of_answer_crosses_a_scope(desk: Desk, scope: str) -> None:
    for path, body in (
        ("/v1/chat/completions", chat("one")),
        ("/v1/embeddings", {"model": "echo-embedding", "input": ["a", "b"]}),
        ("/v1/images/generations", {"model": "echo-diffusion", "prompt": "a", "seed": 3,
                                    "size": "32x16"}),
    ):  # fmt: skip
        assert desk.results(path, body, *USERS, "ann") == EXPECTED[scope], path


@pytest.mark.parametrize("scope", ["user"], indirect=True)
def test_images_are_replayed_byte_for_byte_if_a_seed_determines_them(desk: Desk) -> None:
    body = {"model": "echo-diffusion", "prompt": "a cat", "seed": 9, "n": 2, "size": "32x16"}
    path = "/v1/images/generations"
    first, second = (desk.post("ann", path, body) for _ in range(2))
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    assert first.json()["data"] == second.json()["data"]
    # the cached file is the model's; the format of an answer is made from it
    assert desk.post("ann", path, {**body, "output_format": "webp"}).headers["x-cache"] == "hit"
    for other in ({**body, "seed": 10}, {**body, "prompt": "a dog"}, {**body, "n": 1}):
        assert desk.results(path, other, "ann") == ["miss"]
    free = {name: value for name, value in body.items() if name != "seed"}
    assert desk.results(path, free, "ann", "ann") == ["bypass", "bypass"]
    streamed = {**body, "n": 1, "stream": True, "partial_images": 2}
    pieces = [desk.post("ann", path, streamed) for _ in range(2)]
    assert [images_of(one.text) for one in pieces[:1]] == [images_of(pieces[1].text)]
    headers = {"authorization": f"Bearer {desk.keys['ann']}"}

    def images() -> int:
        totals = desk.api.get("/me/usage", headers=headers).json()["totals"]
        return int(totals["images"])

    wait_for(images, what="the images in the usage")


def images_of(text: str) -> list[str]:
    lines = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    return [one["b64_json"] for one in lines]


@pytest.mark.parametrize("scope", ["user"], indirect=True)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", chat("one two three")),
        ("/v1/completions", {"model": "echo", "prompt": "one two three", "temperature": 0}),
        ("/v1/responses", {"model": "echo", "input": "one two three", "temperature": 0}),
        ("/v1/messages", {**chat("one two three"), "max_tokens": 50}),
        ("/api/chat", {"model": "echo", "messages": script(text="one two three"),
                       "options": {"temperature": 0}}),
        ("/api/generate", {"model": "echo", "prompt": "one two three",
                           "options": {"temperature": 0}}),
    ],
)  # fmt: skip
def test_a_stream_of_each_dialect_is_replayed_in_its_chunks(
    desk: Desk, path: str, body: dict[str, Any]
) -> None:
    streamed = {**body, "stream": True}
    first, second = (desk.post("ann", path, streamed) for _ in range(2))
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    texts = [texts_of(one.text) for one in (first, second)]
    assert texts[0] == texts[1]
    assert len(texts[0]) >= 2
    assert all(one != two for one, two in pairwise(texts[0]))


def texts_of(text: str) -> list[str]:
    """The pieces of text in a stream of any dialect, in order."""
    lines = [line.removeprefix("data: ") for line in text.splitlines()]
    pieces = []
    for one in [json.loads(line) for line in lines if line.startswith("{")]:
        choice = (one.get("choices") or [{}])[0]
        delta = one.get("delta")
        found = [
            choice.get("text"), (choice.get("delta") or {}).get("content"),
            delta if isinstance(delta, str) else (delta or {}).get("text"),
            (one.get("message") or {}).get("content"), one.get("response"),
        ]  # fmt: skip
        pieces += [each for each in found if isinstance(each, str) and each]
    return pieces


@pytest.mark.parametrize("scope", ["user"], indirect=True)
def test_nobody_inherits_the_answers_of_a_deleted_user(desk: Desk) -> None:
    ops = {"authorization": f"Bearer {desk.keys['ops']}"}
    group = desk.api.get("/admin/groups", params={"name": "red"}, headers=ops).json()["data"][0]
    path, body = "/v1/chat/completions", chat("of eve")
    results = []
    for _ in range(2):
        new = {"name": "eve", "role": "student", "group_id": group["id"]}
        user = desk.api.post("/admin/users", json=new, headers=ops)
        assert user.status_code == 201, user.text
        owner = {"user_id": user.json()["id"]}
        made = desk.api.post("/admin/keys", json={"name": "a", **owner}, headers=ops)
        assert made.status_code == 201, made.text
        desk.keys["eve"] = made.json()["key"]
        results += desk.results(path, body, "eve", "eve")
        gone = desk.api.delete(f"/admin/users/{user.json()['id']}", headers=ops)
        assert gone.status_code == 200, gone.text
    # the second one of that name has another id
    assert results == ["miss", "hit", "miss", "hit"]
    purged = desk.api.post(
        "/admin/cache/purge", json={"owner": f"user:{user.json()['id']}"}, headers=ops
    )
    assert purged.json()["deleted"] >= 1
