"""The code flow against a provider that lies, and one that is down."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from frontend.errors import Forbidden, Overloaded
from frontend.oidc.provider import Flow, Provider, Registration
from tests.support.oidc import CLIENT, SECRET, Liar, run_liar

BACK = "http://gateway.example/login/oidc/callback"
FLOW = Flow("state", "nonce-of-this-sign-in", "v" * 50, BACK)


@pytest.fixture
def liar() -> Iterator[Liar]:
    with run_liar() as running:
        yield running


def provider(liar: Liar) -> Provider:
    return Provider(Registration(liar.issuer, CLIENT, SECRET, "openid profile", 5.0, 60))


async def sign_in(liar: Liar, using: Provider, issuer: str | None = None) -> dict[str, Any]:
    code = liar.give_code(await using.begin(FLOW))
    return await using.finish(FLOW, code, issuer)


async def test_claims_are_those_of_the_token_and_of_the_user_information(liar: Liar) -> None:
    liar.userinfo = {"groups": ["a"], "iss": "https://other.example"}
    claims = await sign_in(liar, provider(liar))
    assert (claims["sub"], claims["groups"], claims["iss"]) == ("s1", ["a"], liar.issuer)


@pytest.mark.parametrize(
    "lie",
    [
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": [CLIENT, "another client"]},
        {"aud": [CLIENT, "another client"], "azp": "another client"},
        {"iss": "https://other.example"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"iat": int(time.time()) + 3600},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
    ],
)
async def test_a_token_that_is_not_for_this_sign_in_is_refused(
    liar: Liar, lie: dict[str, Any]
) -> None:
    liar.claims = lie
    with pytest.raises(Forbidden, match="refused"):
        await sign_in(liar, provider(liar))


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_a_signature_that_everybody_can_make_is_refused(liar: Liar, algorithm: str) -> None:
    liar.algorithm = algorithm
    with pytest.raises(Forbidden, match="signature"):
        await sign_in(liar, provider(liar))


async def test_keys_rotate_and_those_of_strangers_are_refused(liar: Liar) -> None:
    now = [0.0]
    using = provider(liar)
    using.clock = lambda: now[0]
    await sign_in(liar, using)
    liar.key = RSAKey.generate_key(2048, {"kid": "2"})
    now[0] += 31
    await sign_in(liar, using)
    liar.published, liar.key = liar.key, RSAKey.generate_key(2048, {"kid": "2"})
    liar.asked.clear()
    for _ in range(3):
        with pytest.raises(Forbidden, match="signature"):
            await sign_in(liar, using)
    assert liar.asked.count("/keys") == 0, "not before 30 seconds are over"


async def test_a_code_works_once_and_only_with_its_own_verifier(liar: Liar) -> None:
    using = provider(liar)
    code = liar.give_code(await using.begin(FLOW))
    await using.finish(FLOW, code, None)
    stolen = liar.give_code(await using.begin(FLOW))
    for replayed, flow in ((code, FLOW), (stolen, Flow("state", FLOW.nonce, "w" * 50, BACK))):
        with pytest.raises(Forbidden, match="status 400"):
            await using.finish(flow, replayed, None)


async def test_the_answer_of_another_provider_is_refused(liar: Liar) -> None:
    with pytest.raises(Forbidden, match="another provider"):
        await sign_in(liar, provider(liar), "https://other.example")
    liar.facts = {"authorization_response_iss_parameter_supported": True}
    with pytest.raises(Forbidden, match="another provider"):
        await sign_in(liar, provider(liar))
    assert await sign_in(liar, provider(liar), liar.issuer)
    liar.userinfo = {"sub": "somebody else"}
    with pytest.raises(Forbidden, match="another subject"):
        await sign_in(liar, provider(liar), liar.issuer)


@pytest.mark.parametrize(
    "facts",
    [
        {"issuer": "https://other.example"},
        {"token_endpoint": "ftp://x/token"},
        {"jwks_uri": 7},
        {"authorization_endpoint": None},
        {"padding": "x" * 600_000},
    ],
)
async def test_a_configuration_that_is_not_right_is_refused(
    liar: Liar, facts: dict[str, Any]
) -> None:
    liar.facts = facts
    with pytest.raises(Forbidden):
        await provider(liar).begin(FLOW)


async def test_a_provider_that_is_down_costs_one_attempt_in_ten_seconds() -> None:
    now, asked = [0.0], 0
    with socket.socket() as silent:  # accepts, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.setblocking(False)
        issuer = f"http://127.0.0.1:{silent.getsockname()[1]}"
        using = Provider(Registration(issuer, CLIENT, "", "openid", 0.2, 60), lambda: now[0])
        for at in (0.0, 1.0, 11.0):
            now[0] = at
            with pytest.raises(Overloaded, match="sign in with a name and a password"):
                await using.begin(FLOW)
        while True:
            try:
                silent.accept()[0].close()
            except BlockingIOError:
                break
            asked += 1
    assert asked == 2
    assert await using.end("http://x/login") is None
