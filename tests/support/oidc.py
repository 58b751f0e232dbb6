"""OpenID providers: one of PyPI in a process of its own, and one here that can be made to lie."""

import base64
import hashlib
import hmac
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import orjson
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.support.processes import free_port, status_of, wait_for
from tests.support.web import listening

CLIENT, SECRET = "gateway", "a secret: of the client"


@contextmanager
def run_provider(*people: dict[str, Any]) -> Iterator[str]:
    """Runs `oidc-provider-mock` with these users, by their claims; its issuer."""
    port = free_port()
    flags = [part for one in people for part in ("--user-claims", orjson.dumps(one).decode())]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)]
    process = subprocess.Popen(
        [*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    issuer = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: status_of(f"{issuer}/.well-known/openid-configuration") == 200)
        yield issuer
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


@dataclass
class Liar:
    """A provider whose answers a test decides: `claims` replace those of the next ID tokens."""

    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    published: RSAKey | None = None
    algorithm: str = "RS256"
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """(challenge, nonce) of each code that was not used yet."""

    def give_code(self, page: str) -> str:
        """Signs somebody in at the page that the gateway sent the browser to."""
        query = {name: value[0] for name, value in parse_qs(page.partition("?")[2]).items()}
        assert query["code_challenge_method"] == "S256"
        code = os.urandom(8).hex()
        self.codes[code] = (query["code_challenge"], query["nonce"])
        return code

    def token(self, nonce: str) -> str:
        """An ID token."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": "s1", "iat": now, "exp": now + 60}
        claims = {**claims, "nonce": nonce, **self.claims}
        head = {"alg": self.algorithm, "kid": self.key.kid}
        if self.algorithm != "RS256":
            parts = [orjson.dumps({"alg": self.algorithm}), orjson.dumps(claims)]
            text = ".".join(map(_encode, parts))
            # with the public key, which everybody has
            key = self.key.as_pem(private=False)
            signed = hmac.digest(key, text.encode(), "sha256") if self.algorithm == "HS256" else b""
            return f"{text}.{_encode(signed)}"
        return jwt.encode(head, claims, self.key)

    def answer(self, path: str, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """(status, JSON) of a request."""
        self.asked.append(path)
        at = self.issuer
        if path.endswith("openid-configuration"):
            ends = {
                "authorization_endpoint": "/go",
                "token_endpoint": "/token",
                "jwks_uri": "/keys",
                "userinfo_endpoint": "/me",
            }
            return 200, {
                "issuer": at,
                **{name: at + end for name, end in ends.items()},
                **self.facts,
            }
        if path == "/keys":
            shown = self.published or self.key
            return 200, {"keys": [shown.as_dict(private=False)]}
        if path == "/me":
            return 200, {"sub": "s1", **self.userinfo}
        challenge, nonce = self.codes.pop(form["code"][0], ("", ""))
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        if _encode(digest) != challenge:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": self.token(nonce)}


@contextmanager
def run_liar() -> Iterator[Liar]:
    """Runs a provider in threads until the block ends."""
    liar = Liar()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("content-length", 0))
            status, shown = liar.answer(self.path, parse_qs(self.rfile.read(size).decode()))
            body = orjson.dumps(shown)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Not in the output of tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    liar.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    with listening(server):
        yield liar
