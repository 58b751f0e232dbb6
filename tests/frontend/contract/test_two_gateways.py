"""Two gateway processes on one database, as behind a load balancer; and a start that is refused."""

import asyncio
import stat
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from openai import OpenAI

from frontend.store.database import Database
from frontend.store.location import Location, parse_location
from frontend.store.migrate import upgrade
from tests.support.accounts import add, opened
from tests.support.databases import Databases, Postgres, url_of
from tests.support.echo import EchoTriton
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import ROOT, status_of, wait_for


def test_each_answers_what_the_other_has_stored(
    echo_triton: EchoTriton, location: Location, tmp_path: Path
) -> None:
    triton, flags = echo_triton.grpc_address, ("--database-url", url_of(location))
    with (
        run_gateway(triton, tmp_path / "one", *flags, wait_ready=False) as one,
        run_gateway(triton, tmp_path / "two", *flags) as two,
        OpenAI(base_url=f"{one.url}/v1", api_key="unused") as first,
        OpenAI(base_url=f"{two.url}/v1", api_key="unused") as second,
    ):
        stored = first.responses.create(model="echo", input="remember me")
        continued = second.responses.create(
            model="echo", input="and me", previous_response_id=stored.id
        )
        items = first.responses.input_items.list(continued.id).data
        assert "remember me" in str(items)
        second.responses.delete(stored.id)
        assert httpx2.get(f"{one.url}/v1/responses/{stored.id}").status_code == 404

        drawn = first.images.generate(model="echo-diffusion", prompt="a", response_format="url")
        assert drawn.data
        (link,) = [str(image.url) for image in drawn.data]
        answers = [httpx2.get(link.replace(one.url, each.url)) for each in (one, two)]
        assert {answer.status_code for answer in answers} == {200}
        assert answers[0].content == answers[1].content


def test_a_revoked_key_is_refused_by_both(
    echo_triton: EchoTriton, databases: Databases, tmp_path: Path
) -> None:
    location = databases.sqlite()
    admin = asyncio.run(_admin(location))
    flags = ("--require-keys", "--database-url", url_of(location))
    triton = echo_triton.grpc_address
    with (
        run_gateway(triton, tmp_path / "one", *flags, wait_ready=False) as one,
        run_gateway(triton, tmp_path / "two", *flags, wait_ready=False) as two,
    ):

        def ask(gateway: Gateway, method: str, path: str, key: str = admin, **body: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            sent = body or None
            return httpx2.request(
                method, gateway.url + path, json=sent, headers=headers
            ).status_code

        headers = {"authorization": f"Bearer {admin}"}
        with httpx2.Client(base_url=one.url, headers=headers) as client:
            user = client.post("/admin/users", json={"name": "ada", "role": "student"}).json()["id"]
            made = client.post("/admin/keys", json={"user_id": user}).json()
        for gateway in (one, two):
            assert ask(gateway, "GET", "/me", made["key"]) == 200
        assert ask(one, "DELETE", f"/admin/keys/{made['id']}") in (200, 204)
        for gateway in (one, two):
            wait_for(
                lambda gateway=gateway: ask(gateway, "GET", "/me", made["key"]) == 401,
                what="the refusal",
            )


def test_addresses_in_another_case_at_the_same_moment_belong_to_one(
    echo_triton: EchoTriton, databases: Databases, tmp_path: Path
) -> None:
    location = databases.postgres()
    admin = asyncio.run(_admin(location))
    flags = ("--require-keys", "--database-url", url_of(location))
    triton = echo_triton.grpc_address

    async def create(url: str, name: str, email: str) -> httpx2.Response:
        async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
            body = {"name": name, "email": email}
            headers = {"authorization": f"Bearer {admin}"}
            return await client.post("/admin/users", json=body, headers=headers)

    async def race(urls: list[str], number: int) -> list[httpx2.Response]:
        emails = [f"Ada{number}@example.org", f"ada{number}@EXAMPLE.org"]
        tasks = [
            create(url, f"u{number}-{turn}-{place}", emails[place])
            for turn in range(3)
            for place, url in enumerate(urls)
        ]
        return await asyncio.gather(*tasks)

    with (
        run_gateway(triton, tmp_path / "one", *flags, wait_ready=False) as one,
        run_gateway(triton, tmp_path / "two", *flags, wait_ready=False) as two,
    ):
        for number in range(5):
            answers = asyncio.run(race([one.url, two.url], number))
            assert sorted(one.status_code for one in answers) == [201, *[409] * 5]
            refused = [one.json()["error"] for one in answers if one.status_code == 409]
            assert {one["param"] for one in refused} == {"email"}
            assert all("already exists" in one["message"] for one in refused)


def test_a_gateway_whose_postgres_is_away_is_not_ready_and_says_so(
    echo_triton: EchoTriton, tmp_path: Path
) -> None:
    server = Postgres(tmp_path / "postgres")
    server.start()
    server.execute("CREATE DATABASE alone")
    location = parse_location(server.url("alone"))
    admin = asyncio.run(_migrated_admin(location))
    flags = ("--require-keys", "--database-url", url_of(location))
    try:
        with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
            ready = f"{gateway.url}/readyz"
            headers = {"authorization": f"Bearer {admin}"}
            status = f"{gateway.url}/admin/status"
            assert httpx2.get(status, headers=headers).json()["database"]["failure"] is None
            server.stop(kill=True)
            wait_for(lambda: status_of(ready) == 503, 30, "a 503")
            answer = httpx2.get(ready).json()
            assert answer["failed"] == ["database"]
            assert answer["checks"]["database"] == "not available"
            assert server.url("").partition("@")[2].strip("/") not in str(answer), "for operators"
            # a key that was read before is valid for a minute, and its owner sees the reason
            told = httpx2.get(status, headers=headers).json()["database"]
            assert told["kind"] == "postgresql"
            assert told["failure"]
            assert status_of(f"{gateway.url}/healthz") == 200
            server.start()
            wait_for(lambda: status_of(ready) == 200, 30, "recovery")
            assert httpx2.get(status, headers=headers).json()["database"]["failure"] is None
    finally:
        server.stop()


async def _migrated_admin(location: Location) -> str:
    database = Database(location)
    await upgrade(database)
    await database.close()
    return await _admin(location)


async def _admin(location: Location) -> str:
    database = Database(location)
    _, key = await add(await opened(database), "chief", "admin")
    await database.close()
    return key


def start(*flags: str, command: str = "serve") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "frontend", command, "--port", "0", *flags]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_start_without_tables_is_refused(databases: Databases, command: str) -> None:
    refusal = start("--database-url", url_of(databases.empty("postgres")), command=command)
    assert refusal.returncode == 2
    assert "has no tables; run `triton-gateway migrate`" in refusal.stderr
    assert "Traceback" not in refusal.stderr


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://u:hunter2@127.0.0.1:1/d", "refused"),
        ("postgresql://u:hunter2@127.0.0.1:1", "does not name a database"),
        ("postgresql://u:hunter2@127.0.0.1:port/d", "must be like"),
        ("mysql://u:hunter2@127.0.0.1/d", "must start with"),
    ],
)
def test_a_wrong_url_is_named_without_its_password(url: str, message: str) -> None:
    refusal = start("--database-url", url)
    assert refusal.returncode == 2
    assert "setting 'database_url'" in refusal.stderr
    assert message in refusal.stderr
    assert "hunter2" not in refusal.stderr + refusal.stdout
    assert "Traceback" not in refusal.stderr


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refusal = start("--data-directory", str(tmp_path / "file" / "data"))
    assert refusal.returncode == 2
    assert "setting 'data_directory'" in refusal.stderr


def test_the_first_start_makes_a_database_for_its_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    flags = ("--data-directory", str(data))
    with run_gateway("unix:/nowhere", tmp_path / "log", *flags, wait_ready=False):
        modes = {each: stat.S_IMODE(each.stat().st_mode) for each in data.iterdir()}
        expected = {each: 0o700 if each.is_dir() else 0o600 for each in modes}
    assert data / "gateway.db" in modes
    assert modes == expected
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
