"""Floods of guesses by somebody who knows a password or has a key: codes and passwords cannot be
guessed by speed, and neither the owner nor another user is locked out by them."""

import time
from collections import Counter

import httpx2
import pytest

from frontend.accounts.directory.actor import OPERATOR, Actor
from frontend.accounts.totp import code_at
from frontend.store.database import Database
from frontend.store.factors import find_factor
from tests.frontend.contract.test_floods import Town, address, form_of, town
from tests.support.accounts import add, opened
from tests.support.processes import memory_peak_bytes

__all__ = ["town"]
pytestmark = pytest.mark.timeout(300)
FREE, EVERY_S = 20, 30
"""Wrong codes of a user that are checked at once, and how often one more is."""


class People:
    """Two users with second factors, and a student with a key and a password."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}
        self.recovery: dict[str, list[str]] = {}
        self.key = ""

    async def settle(self, town: Town) -> "People":
        database = Database(town.location)
        directory = await opened(database)
        for name in ("flo", "guy"):
            user, _ = await add(directory, name)
            self.passwords[name] = await directory.users.reset_password(OPERATOR, user.id)
            actor = Actor(user.id, name, frozenset(), address="192.0.2.1")
            await directory.factors.set_up(actor, None)
            async with database.connect() as rows:
                factor = await find_factor(rows, user.id)
            assert factor is not None
            secret = await directory.factors.seal.open(user.id, factor.secret)
            code = code_at(secret, int(time.time()) // 30)
            self.recovery[name] = await directory.factors.confirm(actor, code)
        user, self.key = await add(directory, "hal")
        self.passwords["hal"] = await directory.users.reset_password(OPERATOR, user.id)
        await database.close()
        return self

    async def first_step(self, client: httpx2.AsyncClient, name: str, source: str) -> str:
        """Enters the password; the token of the form for the code. Cookies stay in the client."""
        csrf, _ = await form_of(client)
        fields = {"name": name, "password": self.passwords[name], "csrf": csrf}
        answer = await client.post("/login", data=fields, headers={"x-forwarded-for": source})
        assert answer.headers["location"] == "/login/code", answer.text
        page = await client.get("/login/code", headers={"accept": "text/html"})
        return page.text.partition('name="csrf" value="')[2].partition('"')[0]

    async def sign_in(self, client: httpx2.AsyncClient, name: str, source: str) -> None:
        """With the password and a recovery code."""
        csrf = await self.first_step(client, name, source)
        fields = {"code": self.recovery[name].pop(), "csrf": csrf}
        answer = await client.post("/login/code", data=fields, headers={"x-forwarded-for": source})
        assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard"), answer.text
        client.cookies.delete("session")


@pytest.mark.parametrize("addresses", ["one", "many"])
async def test_guesses_of_codes_by_who_knows_the_password(town: Town, addresses: str) -> None:
    people = await People().settle(town)
    async with town.client() as home, town.client() as thief, town.client() as other:
        await people.sign_in(home, "flo", "192.0.2.7")
        csrf = await people.first_step(thief, "flo", address(0))
        step = f"step={thief.cookies['step']}"
        begun_s, peak = time.monotonic(), memory_peak_bytes(town.gateway.process.pid)

        async def guess(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
            source = address(0 if addresses == "one" else number)
            headers = {"cookie": step, "x-forwarded-for": source, "accept": "application/json"}
            fields = {"code": f"{number % 10**6:06}", "csrf": csrf}
            return await client.post("/login/code", data=fields, headers=headers)

        seen = await town.flood(guess)
        most = FREE + (time.monotonic() - begun_s) / EVERY_S + 1
        assert seen.keys() <= {403, 429, 503}, seen
        assert 0 < seen[403] <= most, seen
        assert seen[429]
        assert town.grown_mib(peak) < 3 * 64
        # the owner's browser is known, and another user at the thief's address is not the thief
        await people.sign_in(home, "flo", "192.0.2.7")
        await people.sign_in(other, "guy", address(0))


async def test_guesses_of_the_current_password_with_a_stolen_key(town: Town) -> None:
    people = await People().settle(town)
    peak = memory_peak_bytes(town.gateway.process.pid)

    async def guess(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
        body = {"current_password": f"wrong password {number}", "new_password": "quite another 1"}
        headers = {"authorization": f"Bearer {people.key}", "x-forwarded-for": address(number)}
        return await client.post("/me/password", json=body, headers=headers)

    begun_s = time.monotonic()
    seen: Counter[int] = await town.flood(guess)
    assert seen.keys() <= {403, 429, 503}, seen
    # five at once, and one more every 30 seconds
    assert 0 < seen[403] <= 5 + (time.monotonic() - begun_s) / EVERY_S + 1, seen
    assert seen[429]
    assert town.grown_mib(peak) < 3 * 64
    async with town.client() as client:
        # the password still opens a session, from any address
        csrf, _ = await form_of(client)
        fields = {"name": "hal", "password": people.passwords["hal"], "csrf": csrf}
        headers = {"x-forwarded-for": "192.0.2.9"}
        answer = await client.post("/login", data=fields, headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
