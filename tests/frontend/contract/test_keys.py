"""Keys for every route: who is admitted, who is not, and what is never disclosed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anthropic
import httpx2
import ollama
import pytest
from openai import AuthenticationError, BadRequestError, NotFoundError, OpenAI

from frontend.accounts.keyfile import add_key, remove_key
from frontend.app import create_gateway
from frontend.domain.identity import Permission
from frontend.settings import Settings
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import wait_for
from tests.support.upstream import ScriptedUpstream

HELLO = {"model": "echo", "messages": script(text="a b")}


@dataclass
class Guarded:
    """A gateway, its file of keys, and one secret for each role."""

    gateway: Gateway
    file: Path
    user: str
    admin: str

    def post(self, path: str, secret: str = "", **headers: str) -> httpx2.Response:
        if secret:
            headers["authorization"] = f"Bearer {secret}"
        return httpx2.post(self.gateway.url + path, json=HELLO, headers=headers)


@pytest.fixture(scope="module")
def guarded(echo_triton: EchoTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    file = folder / "keys"
    user, admin = add_key(file, "ada", "user"), add_key(file, "ops", "admin")
    file.write_text("# people\n\n" + file.read_text())
    flags = ("--keys-file", str(file))
    with run_gateway(echo_triton.grpc_address, folder / "log", *flags) as gateway:
        yield Guarded(gateway, file, user, admin)


async def test_every_route_asks_for_a_key(guarded: Guarded) -> None:
    public = set()
    for route in create_gateway(Settings(), ScriptedUpstream()).routes.all:
        path = re.sub(r"\{\w+(:path)?\}", "x", route.path)
        # as a proxy on this machine would pass it on: what is local needs no key for all routes
        headers = {"x-forwarded-for": "192.0.2.1"}
        status = httpx2.request(
            route.method, guarded.gateway.url + path, headers=headers
        ).status_code
        if route.permission is Permission.PUBLIC:
            public.add(path)
            assert status in (200, 303, 400, 404), path
        else:
            assert status == 401, path
    assert public == {
        "/",
        "/health",
        "/healthz",
        "/readyz",
        "/status",
        "/v1/images/files/x",
        "/docs/api",
        "/docs/swagger",
        "/docs/swagger/x",
        "/playground",
        "/static/x/x",
        "/key-requests",
        "/login",
        "/login/code",
        "/login/enrol",
        "/login/oidc",
        "/login/oidc/callback",
        "/login/password",
        "/request-key",
        "/key-requests/x",
    }


def test_names_of_models_are_for_callers(guarded: Guarded) -> None:
    assert "echo-embedding" not in httpx2.get(f"{guarded.gateway.url}/docs/api").text


def test_responses_belong_to_their_callers(guarded: Guarded) -> None:
    made = []
    for secret in (guarded.user, guarded.admin):
        with OpenAI(base_url=f"{guarded.gateway.url}/v1", api_key=secret) as sdk:
            made.append(sdk.responses.create(model="echo", input="a b").id)
    with OpenAI(base_url=f"{guarded.gateway.url}/v1", api_key=guarded.user) as sdk:
        assert sdk.responses.retrieve(made[0]).output_text == "a b"
        for steal in (sdk.responses.retrieve, sdk.responses.delete):
            with pytest.raises(NotFoundError):
                steal(made[1])
        with pytest.raises(BadRequestError):
            sdk.responses.create(model="echo", input="c", previous_response_id=made[1])


def test_a_key_is_shown_as_each_client_shows_it(guarded: Guarded) -> None:
    url, message = guarded.gateway.url, {"role": "user", "content": "a b"}
    with OpenAI(base_url=f"{url}/v1", api_key=guarded.user) as sdk:
        assert sdk.models.list().data
    ollamas = ollama.Client(host=url, headers={"authorization": f"Bearer {guarded.user}"})
    assert ollamas.chat("echo", messages=[message]).message.content == "a b"
    ollamas._client.close()
    with anthropic.Anthropic(base_url=url, api_key=guarded.user) as sdk:
        answer = sdk.messages.create(model="echo", max_tokens=9, messages=[message])  # type: ignore[list-item]
        assert answer.content


@pytest.mark.parametrize("secret", ["", "unknown", "tk-", "ä" * 5000])
def test_other_keys_are_refused(guarded: Guarded, secret: str) -> None:
    headers = {"authorization": f"Bearer {secret}".encode()} if secret else {}
    url = f"{guarded.gateway.url}/v1/chat/completions"
    answer = httpx2.post(url, json=HELLO, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code in (400, 401)
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "invalid_api_key"


def test_refusals_have_the_dialects_shape(guarded: Guarded) -> None:
    with (
        OpenAI(base_url=f"{guarded.gateway.url}/v1", api_key="no") as sdk,
        pytest.raises(AuthenticationError),
    ):
        sdk.models.list()
    assert isinstance(guarded.post("/api/chat").json()["error"], str)
    assert guarded.post("/v1/messages").json()["error"]["type"] == "authentication_error"


def test_users_are_no_admins(guarded: Guarded) -> None:
    answer = guarded.post("/api/pull", guarded.user)
    assert (answer.status_code, "admin" in answer.json()["error"]) == (403, True)
    unload = {"model": "echo", "keep_alive": 0}
    headers = {"authorization": f"Bearer {guarded.user}"}
    url = f"{guarded.gateway.url}/api/generate"
    assert httpx2.post(url, json=unload, headers=headers).status_code == 403
    for path in ("/api/create", "/api/copy", "/api/push", "/api/blobs/sha256:00"):
        refused = guarded.post(path, guarded.admin)
        assert (refused.status_code, "toolkit" in refused.json()["error"]) == (501, True)


def test_a_key_made_and_taken_back_while_it_runs(guarded: Guarded) -> None:
    secret = add_key(guarded.file, "bob", "user")
    path = "/v1/chat/completions"
    wait_for(lambda: guarded.post(path, secret).status_code == 200, what="the new key")
    remove_key(guarded.file, "bob")
    # 429: this address has tried too many invalid keys, in this test and in others
    wait_for(lambda: guarded.post(path, secret).status_code in (401, 429), what="the refusal")
    assert guarded.post(path, guarded.user).status_code == 200


def test_a_broken_file_changes_nothing(guarded: Guarded) -> None:
    kept = guarded.file.read_text()
    guarded.file.write_text(f"broken {guarded.user}\n")
    said = "the previous keys stay in use"

    def told() -> bool:
        assert guarded.post("/v1/chat/completions", guarded.user).status_code == 200
        return said in guarded.gateway.log.read_text()

    wait_for(told, what="the complaint")
    guarded.file.write_text(kept)


def test_the_log_names_callers_and_no_secrets(guarded: Guarded) -> None:
    guarded.post("/v1/chat/completions", guarded.user)
    guarded.post("/v1/chat/completions", "tk-a-secret-of-somebody-else")
    wait_for(lambda: '"status":401' in guarded.gateway.log.read_text(), what="the lines")
    log = guarded.gateway.log.read_text()
    assert '"caller":"ada"' in log
    assert guarded.user not in log
    assert "tk-a-secret" not in log


def test_an_open_gateway_still_knows_its_admins(guarded: Guarded, echo_triton: EchoTriton) -> None:
    flags = ("--keys-file", str(guarded.file), "--open")
    log = guarded.file.parent / "open.log"
    with run_gateway(echo_triton.grpc_address, log, *flags) as gateway:
        said = "open mode: every program on this machine can use the models without a key"
        assert said in gateway.log.read_text()
        opened = Guarded(gateway, guarded.file, guarded.user, guarded.admin)
        assert opened.post("/v1/chat/completions").status_code == 200
        assert opened.post("/v1/chat/completions", "made-up").status_code == 200
        assert opened.post("/api/copy").status_code == 403
        assert opened.post("/api/copy", opened.admin).status_code == 501
