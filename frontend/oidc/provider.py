"""The provider: where its pages and keys are, and what it gives for a code.

Everything that it sends is bounded in bytes and time, and redirects are refused. What was read of
it is kept for an hour; a signature with a key that is not known makes it read the keys again, at
most every 30 seconds. A provider that is down costs one attempt in 10 seconds.
"""

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx2
import orjson
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from frontend.errors import Overloaded
from frontend.oidc.tokens import Expected, check_id_token, refused

_KEEP_S, _KEYS_S, _AGAIN_S = 3600.0, 30.0, 10.0
_MAX_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Registration:
    """This gateway's registration at the provider."""

    issuer: str
    client_id: str
    secret: str
    scopes: str
    timeout_s: float
    leeway_s: int


@dataclass(frozen=True, slots=True)
class Flow:
    """One sign-in at the provider: three secrets that only the browser's cookie holds."""

    state: str
    nonce: str
    verifier: str
    back: str
    """Where the provider sends the browser."""


@dataclass(slots=True)
class Provider:
    """One OpenID provider."""

    me: Registration
    clock: Callable[[], float] = time.monotonic
    now_s: Callable[[], float] = time.time
    _facts: dict[str, Any] = field(default_factory=dict)
    _keys: KeySet | None = None
    _read_s: float = -1e9
    _keys_s: float = -1e9
    _failed_s: float = -1e9
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def begin(self, flow: Flow) -> str:
        """The page of the provider that a browser goes to. Raises Overloaded while it is down."""
        facts = await self._discover()
        digest = hashlib.sha256(flow.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self.me.client_id,
            "redirect_uri": flow.back,
            "scope": self.me.scopes,
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return _with_query(facts["authorization_endpoint"], query)

    async def finish(self, flow: Flow, code: str, issuer: str | None) -> dict[str, Any]:
        """The claims about the user who signed in. Raises Forbidden if an answer of the provider is
        not valid, and Overloaded while it does not answer."""
        facts = await self._discover()
        # RFC 9207: an answer of another provider must not be taken for this one's
        named = facts.get("authorization_response_iss_parameter_supported") is True
        if (issuer is not None or named) and issuer != self.me.issuer:
            raise refused("it is the answer of another provider")
        answer = await self._token(facts, flow, code)
        text = answer.get("id_token")
        if not isinstance(text, str):
            raise refused("it does not contain an ID token")
        claims = await self._check(text, flow.nonce)
        access = answer.get("access_token")
        if isinstance(access, str) and isinstance(facts.get("userinfo_endpoint"), str):
            more = await self._read(
                "GET", facts["userinfo_endpoint"], headers={"authorization": f"Bearer {access}"}
            )
            # section 5.3.2: what it says about another subject must not be used
            if more.get("sub") != claims["sub"]:
                raise refused("its user information is about another subject than its ID token")
            claims = {**more, **claims}
        return claims

    async def end(self, back: str) -> str | None:
        """The page of the provider that ends its own session; None without one."""
        try:
            facts = await self._discover()
        except Overloaded:
            return None
        if not isinstance(facts.get("end_session_endpoint"), str):
            return None
        query = {"client_id": self.me.client_id, "post_logout_redirect_uri": back}
        return _with_query(facts["end_session_endpoint"], query)

    async def _token(self, facts: dict[str, Any], flow: Flow, code: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": flow.back,
            "code_verifier": flow.verifier,
        }
        headers = {}
        methods = facts.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self.me.secret and "client_secret_basic" in methods:
            pair = f"{quote(self.me.client_id, safe='')}:{quote(self.me.secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = self.me.client_id
            if self.me.secret:
                form["client_secret"] = self.me.secret
        return await self._read("POST", facts["token_endpoint"], headers=headers, data=form)

    async def _check(self, text: str, nonce: str) -> dict[str, Any]:
        me = self.me
        now_s = int(self.now_s())
        expected = Expected(me.issuer, me.client_id, nonce, me.leeway_s, now_s)
        for again in (False, True):
            try:
                return check_id_token(text, await self._key_set(again=again), expected)
            except ValueError as error:
                if again:
                    raise refused(str(error)) from None
        raise AssertionError

    async def _key_set(self, *, again: bool) -> KeySet:
        age_s = self.clock() - self._keys_s
        if self._keys is None or age_s > _KEEP_S or (again and age_s > _KEYS_S):
            found = await self._read("GET", self._facts["jwks_uri"])
            try:
                self._keys, self._keys_s = KeySet.import_key_set(found), self.clock()  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError, TypeError):
                raise refused("its keys cannot be read") from None
        return self._keys

    async def _discover(self) -> dict[str, Any]:
        async with self._turn:
            if self._facts and self.clock() - self._read_s < _KEEP_S:
                return self._facts
            if self.clock() - self._failed_s < _AGAIN_S:
                raise _down()
            url = f"{self.me.issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                found = await self._read("GET", url)
            except Overloaded:
                self._failed_s = self.clock()
                raise
            self._check_facts(found)
            self._facts, self._read_s = found, self.clock()
            return found

    def _check_facts(self, found: dict[str, Any]) -> None:
        if found.get("issuer") != self.me.issuer:
            raise refused(f"its configuration is not that of {self.me.issuer}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            url = found.get(name)
            secure = urlsplit(self.me.issuer).scheme
            if not isinstance(url, str) or urlsplit(url).scheme not in ("https", secure):
                raise refused(f"'{name}' of its configuration is not a URL with https")

    async def _read(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        """JSON of the provider. Raises Overloaded if it does not answer, and Forbidden if its
        answer is not valid."""
        try:
            async with (
                asyncio.timeout(self.me.timeout_s),
                httpx2.AsyncClient(timeout=self.me.timeout_s, trust_env=False) as http,
                http.stream(method, url, **options) as answer,
            ):
                content = b""
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > _MAX_BYTES:
                        raise refused("its answer is too large")
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError):
            raise _down() from None
        if answer.status_code >= 500:
            raise _down()
        if answer.status_code != 200:
            raise refused(f"it answered with status {answer.status_code}")
        try:
            found = orjson.loads(content)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise refused("its answer is not a JSON object")
        return found


def _with_query(url: str, query: dict[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"


def _down() -> Overloaded:
    text = "the sign-in provider does not answer now; sign in with a name and a password"
    return Overloaded(text, code="oidc_unavailable")
