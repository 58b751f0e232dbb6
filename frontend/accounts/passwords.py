"""Passwords of users, as Argon2id hashes. Hashing takes 64 MiB and tens of milliseconds, so it
runs in threads, and never on the event loop. Two run at a time for callers who are known, and one
for others, who wait as long as it took before the next one, so that guessing cannot overload the
machine. Of both kinds at most 32 run or wait, half of them of one caller; more are refused.
"""

import asyncio
import secrets
import time

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from frontend.turns import Turns

MIN_LENGTH, MAX_LENGTH = 10, 256
_COMMON = frozenset(("password123", "1234567890", "0123456789", "qwertyuiop", "administrator"))


def new_password() -> str:
    """A random password of 120 bits."""
    return secrets.token_urlsafe(15)


def check_password(password: str, name: str) -> None:
    """Raises ValueError for a password that is too short, too long or easily guessed."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise ValueError(
            f"the password must have {MIN_LENGTH} to {MAX_LENGTH} characters, not {len(password)}"
        )
    plain = password.lower()
    if plain in _COMMON or plain == name.lower() or len(set(plain)) < 4:
        raise ValueError("the password is easily guessed; choose another one")


class Passwords:
    """Hashes and verifies passwords. RFC 9106's second choice: 64 MiB, 3 passes, 4 lanes."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._turns = Turns(2, max_waiting=32)
        self._strangers = Turns(1, max_waiting=32)
        self._rested_s = 0.0

    async def hash(self, password: str, caller: str) -> str:
        """The hash of a password, to be stored. Raises RateLimited or Overloaded if too many
        passwords wait to be hashed."""
        async with self._turns.taken(caller):
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(
        self, stored: str | None, password: str, caller: str, *, known: bool = True
    ) -> bool:
        """Whether it is the stored password. Without a stored one it takes as long.

        `known`: the caller is signed in, or has been in this browser. Raises as `hash` does.
        """
        if known:
            async with self._turns.taken(caller):
                return await asyncio.to_thread(self._verify, stored, password)
        async with self._strangers.taken(caller):
            # as long as the last hash took: strangers have at most half of one place's time
            await asyncio.sleep(max(0.0, self._rested_s - time.monotonic()))
            started_s = time.monotonic()
            is_right = await asyncio.to_thread(self._verify, stored, password)
            ended_s = time.monotonic()
            self._rested_s = ended_s + (ended_s - started_s)
            return is_right

    def _verify(self, stored: str | None, password: str) -> bool:
        # the time must not show whether an account has a password
        if stored is None:
            self._hasher.hash(password)
            return False
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False
