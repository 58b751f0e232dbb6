"""Limits attempts to enter passwords, without locking out the owner of an account.

Attempts beyond the limit wait instead of being refused, so that the right password always works. A
browser in which a user has signed in before has a cookie that proves it for that name, and its
attempts never wait for those of others (OWASP calls it a device cookie). It does not read
passwords.
"""

import asyncio
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from frontend.accounts.throttle import Throttle
from frontend.errors import RateLimited

_PROOF = re.compile(r"([A-Za-z0-9_-]{22})-([0-9a-f]{64})")
_MAX_PROOFS = 4
_MAX_WAIT_S = 20.0
_MAX_WAITING = 200


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that may continue. `known`: it comes from a browser of this user.

    `counted` holds what it was counted for, until it turns out not to be a failure.
    """

    known: bool
    counted: tuple[tuple[Throttle, str], ...]

    def succeed(self) -> None:
        """Removes the failure that was counted before the attempt."""
        for throttle, subject in self.counted:
            throttle.forgive(subject)


@dataclass(slots=True)
class Attempts:
    """Counts attempts for browsers that are known, for a name at an address, and for an address."""

    browsers: Throttle = field(default_factory=lambda: Throttle(10, 30.0))
    names: Throttle = field(default_factory=lambda: Throttle(5, 5.0))
    addresses: Throttle = field(default_factory=lambda: Throttle(20, 1.0))
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _waiting: int = 0

    async def admit(self, name: str, subject: str, browser: str = "") -> Attempt:
        """Waits until the attempt may continue. `browser`: the proof that `known_browser` returned.

        Raises RateLimited where too many wait already.
        """
        # counted before the hash, or guesses at the same time would all be hashed
        if browser and self.browsers.fail([browser]) == 0:
            return Attempt(True, ((self.browsers, browser),))
        pair = f"{subject} {name}"
        wait_s = self.names.reserve(pair, _MAX_WAIT_S)
        if wait_s <= _MAX_WAIT_S:
            address_s = self.addresses.reserve(subject, _MAX_WAIT_S)
            if address_s > _MAX_WAIT_S:
                self.names.forgive(pair)
            wait_s = max(wait_s, address_s)
        if wait_s > _MAX_WAIT_S or (wait_s > 0 and self._waiting >= _MAX_WAITING):
            text = "too many sign-in attempts; wait and try again"
            raise RateLimited(text, wait_us=int(wait_s * 1e6), code="too_many_failures")
        await self._wait(wait_s)
        return Attempt(False, ((self.names, pair), (self.addresses, subject)))

    async def _wait(self, wait_s: float) -> None:
        if wait_s <= 0:
            return
        self._waiting += 1
        try:
            await self.sleep(wait_s)
        finally:
            self._waiting -= 1


def known_browser(secret: bytes, name: str, cookie: str) -> str:
    """Which of a cookie's proofs is one for this name; "" without one."""
    for proof in cookie.split(".")[:_MAX_PROOFS]:
        match = _PROOF.fullmatch(proof)
        if match and hmac.compare_digest(_mark(secret, match[1], name), match[2]):
            return match[1]
    return ""


def remember_browser(secret: bytes, name: str, cookie: str) -> str:
    """The cookie of a browser in which this name has signed in: its proofs, the new one first."""
    kept = [one for one in cookie.split(".")[:_MAX_PROOFS] if _PROOF.fullmatch(one)]
    if known_browser(secret, name, cookie):
        return ".".join(kept)
    nonce = secrets.token_urlsafe(16)
    return ".".join([f"{nonce}-{_mark(secret, nonce, name)}", *kept][:_MAX_PROOFS])


def _mark(secret: bytes, nonce: str, name: str) -> str:
    return hmac.digest(secret, f"browser\n{nonce}\n{name}".encode(), "sha256").hex()
