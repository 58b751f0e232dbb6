"""Sets up, checks and removes users' second factors, for sign-ins with a password.

A code works once. Failures are counted for a user at an address and for the user, so that an
attacker who knows the password cannot try a million codes.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from frontend.accounts import totp
from frontend.accounts.attempts import Attempts
from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Changes
from frontend.accounts.directory.rules import find_user
from frontend.accounts.guesses import Guesses
from frontend.accounts.passwords import Passwords
from frontend.accounts.seal import Seal
from frontend.accounts.throttle import Throttle
from frontend.errors import Conflict, Forbidden, InvalidRequest
from frontend.store import accounts as store
from frontend.store.factors import (
    add_factor,
    confirm_factor,
    count_recovery_codes,
    drop_factor,
    find_factor,
    use_recovery_code,
    use_step,
)
from frontend.store.records import Rows
from frontend.store.sessions import end_sessions
from frontend.turns import Turns

_PLACE = "Triton Toolkit"


def _attempts() -> Attempts:
    return Attempts(names=Throttle(5, 30.0), addresses=Throttle(20, 30.0))


@dataclass(frozen=True, slots=True)
class Setup:
    """The data for setting up an app."""

    secret: str
    address: str
    image: str


@dataclass(frozen=True, slots=True)
class Factors:
    """Sets second factors up, asks for them, and removes them."""

    changes: Changes
    passwords: Passwords
    seal: Seal
    now_s: Callable[[], float] = time.time
    attempts: Attempts = field(default_factory=_attempts)
    guesses: Guesses = field(default_factory=Guesses)
    drawing: Turns = field(default_factory=lambda: Turns(1, max_waiting=32))

    async def state(self, user_id: str) -> tuple[bool, int]:
        """Whether an app is in use, and how many recovery codes are left."""
        async with self.changes.database.connect() as rows:
            factor = await find_factor(rows, user_id)
            left = await count_recovery_codes(rows, user_id)
        return factor is not None and factor.confirmed_at_us is not None, left

    async def set_up(self, actor: Actor, password: str | None) -> Setup:
        """A new secret for the actor, which works after `confirm`. `password` is None if it was
        entered a moment ago.

        Raises Forbidden for a wrong password, RateLimited after several of them, and Conflict if a
        second factor is already in use.
        """
        if password is not None:
            await self._check_password(actor, password)
        secret = totp.new_secret()
        # before the transaction: the first key may have to be written
        sealed = await self.seal.close(actor.id, secret)
        async with self.changes.begin(actor, "users.set_up_factor") as change:
            factor = await find_factor(change.connection, actor.id)
            if factor is not None and factor.confirmed_at_us is not None:
                raise Conflict("a second factor is already in use; remove it first")
            await drop_factor(change.connection, actor.id)
            await add_factor(change.connection, actor.id, sealed, change.now_us)
        return await self._show(actor, secret)

    async def pending(self, actor: Actor) -> Setup:
        """The secret that is not confirmed yet; a new one if there is none."""
        async with self.changes.database.connect() as rows:
            factor = await find_factor(rows, actor.id)
        if factor is None or factor.confirmed_at_us is not None:
            return await self.set_up(actor, None)
        return await self._show(actor, await self.seal.open(actor.id, factor.secret))

    async def confirm(self, actor: Actor, code: str) -> list[str]:
        """Turns the app on, by its first code, and returns the recovery codes.

        Raises InvalidRequest for a wrong code, or if no setup was started, and RateLimited after
        too many wrong codes.
        """
        # each wrong code is a transaction that writes
        attempt = await self.attempts.admit(actor.address, f"setup {actor.id}")
        async with self.changes.begin(actor, "users.confirm_factor") as change:
            rows = change.connection
            factor = await find_factor(rows, actor.id)
            if factor is None or factor.confirmed_at_us is not None:
                raise InvalidRequest(
                    "no second factor is being set up; start the setup first", param="code"
                )
            secret = await self.seal.open(actor.id, factor.secret)
            step = totp.match_step(secret, code, int(self.now_s()), factor.last_step)
            if step is None or not await use_step(rows, actor.id, step):
                text = "the code is not correct; check that the clock of your phone is right"
                raise InvalidRequest(text, param="code")
            codes = totp.new_recovery_codes()
            digests = [digest for one in codes if (digest := totp.digest_of_recovery(one))]
            await confirm_factor(rows, actor.id, change.now_us, digests)
            change.note("user", actor.id)
        attempt.succeed()
        return codes

    async def check(self, actor: Actor, code: str, browser: str = "") -> None:
        """Checks and consumes a code or a recovery code. Raises Forbidden for a wrong or used code,
        and RateLimited after too many."""
        # by user, not by address alone: who knows the password can come from anywhere
        attempt = await self.attempts.admit(actor.address, actor.id, browser)
        async with self.changes.database.begin() as rows:
            is_right = await self._use(rows, actor.id, code)
        if not is_right:
            text = "the code is not correct or has already been used; wait for the next one"
            raise Forbidden(text, param="code", code="second_factor_failed")
        attempt.succeed()

    async def remove(self, actor: Actor, code: str) -> None:
        """Removes the actor's own app. Raises Forbidden for a wrong or used code, and RateLimited
        after too many."""
        await self.check(actor, code, actor.browser)
        async with self.changes.begin(actor, "users.remove_factor") as change:
            await drop_factor(change.connection, actor.id)
            change.note("user", actor.id)

    async def reset(self, actor: Actor, user_id: str) -> None:
        """Removes the app of a user who lost it, and ends all their sessions. Raises NotFound if
        the user does not exist."""
        async with self.changes.begin(actor, "users.reset_factor") as change:
            await find_user(change.connection, actor, user_id)
            await drop_factor(change.connection, user_id)
            await end_sessions(change.connection, user_id)
            change.note("user", user_id)

    async def _use(self, rows: Rows, user_id: str, code: str) -> bool:
        factor = await find_factor(rows, user_id)
        if factor is None or factor.confirmed_at_us is None:
            return False
        if digest := totp.digest_of_recovery(code):
            return await use_recovery_code(rows, user_id, digest)
        secret = await self.seal.open(user_id, factor.secret)
        step = totp.match_step(secret, code, int(self.now_s()), factor.last_step)
        return step is not None and await use_step(rows, user_id, step)

    async def _check_password(self, actor: Actor, password: str) -> None:
        attempt = self.guesses.admit(actor)
        async with self.changes.database.connect() as rows:
            stored = await store.password_of(rows, actor.id)
        # who signs in with a provider has no password here
        caller = actor.browser or actor.credential
        if stored is not None and not await self.passwords.verify(stored, password, caller):
            raise Forbidden("the current password is not correct", param="current_password")
        attempt.succeed()

    async def _show(self, actor: Actor, secret: bytes) -> Setup:
        address = totp.address_of(secret, actor.name, _PLACE)
        # tens of milliseconds of Python: requests that draw must not delay all others
        async with self.drawing.taken(actor.id):
            image = await asyncio.to_thread(totp.draw, address)
        return Setup(totp.spell(secret), address, image)
