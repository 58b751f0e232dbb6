"""Floods of guesses by somebody who knows a password or has a key: codes and passwords cannot be
guessed by speed, and neither the owner nor another user is locked out by them."""

import base64
import re
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

    async def sign_in_without_code(
        self, client: httpx2.AsyncClient, name: str, source: str
    ) -> None:
        """With the password alone; the session stays in the client."""
        csrf, _ = await form_of(client)
        fields = {"name": name, "password": self.passwords[name], "csrf": csrf}
        answer = await client.post("/login", data=fields, headers={"x-forwarded-for": source})
        assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard"), answer.text

    async def begin_setup(
        self, client: httpx2.AsyncClient, name: str, source: str
    ) -> tuple[str, bytes]:
        """Up to the page with the secret: the token of its form, and the secret."""
        csrf, _ = await form_of(client)
        fields = {"name": name, "password": self.passwords[name], "csrf": csrf}
        answer = await client.post("/login", data=fields, headers={"x-forwarded-for": source})
        assert answer.headers["location"] == "/login/enrol", answer.text
        page = await client.get("/login/enrol", headers={"accept": "text/html"})
        assert page.status_code == 200, page.text
        token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        found = re.search(r"[A-Z2-7]{32}", page.text)
        assert found is not None, page.text
        return token, base64.b32decode(found[0])


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


@pytest.mark.parametrize("stolen", ["key", "session"])
@pytest.mark.parametrize("addresses", ["one", "many"])
async def test_guesses_of_the_current_password(town: Town, stolen: str, addresses: str) -> None:
    people = await People().settle(town)
    peak = memory_peak_bytes(town.gateway.process.pid)
    async with town.client() as home, town.client() as thief:
        await people.sign_in_without_code(home, "hal", "192.0.2.7")
        if stolen == "key":
            proof = {"authorization": f"Bearer {people.key}"}
        else:
            # the thief has only the session, without the cookie of the browser
            await people.sign_in_without_code(thief, "hal", address(0))
            proof = session_of(thief)

        async def guess(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
            source = address(0 if addresses == "one" else number)
            return await change(
                client, f"wrong password {number}", "quite another 1", proof, source
            )

        async def change_it() -> None:
            """The owner, with a session of their own; it ends with the password."""
            old, new = people.passwords["hal"], "what hal chose himself"
            own = session_of(home) | {"cookie": cookies_of(home)}
            answer = await change(home, old, new, own, "192.0.2.7")
            assert answer.status_code == 200, answer.text
            people.passwords["hal"] = new

        begun_s = time.monotonic()
        seen: Counter[int] = await town.flood(guess, change_it)
        # a stolen session ends with the password
        assert seen.keys() <= {403, 429, 503} | ({401} if stolen == "session" else set()), seen
        most = (5 if addresses == "one" else 10) + (time.monotonic() - begun_s) / EVERY_S + 1
        assert 0 < seen[403] <= most, seen
        assert seen[429]
        assert town.grown_mib(peak) < 3 * 64
        # the password still opens a session, from any address
        await people.sign_in_without_code(home, "hal", "192.0.2.9")


async def test_passwords_set_by_a_stolen_key_of_an_administrator(town: Town) -> None:
    """Each costs a hash, so there may not be many at once; another administrator is served."""
    people = await People().settle(town)
    database = Database(town.location)
    directory = await opened(database)
    _, stolen = await add(directory, "first", "admin")
    _, other = await add(directory, "second", "admin")
    victim, _ = await add(directory, "ida")
    await database.close()
    peak = memory_peak_bytes(town.gateway.process.pid)

    async def reset(client: httpx2.AsyncClient, key: str) -> httpx2.Response:
        headers = {"authorization": f"Bearer {key}"}
        return await client.post(f"/admin/users/{victim.id}/password", headers=headers)

    async def flood(client: httpx2.AsyncClient, _: int) -> httpx2.Response:
        return await reset(client, stolen)

    async def beside() -> None:
        async with town.client() as client:
            answer = await reset(client, other)
            assert answer.status_code == 200, answer.text
            # somebody else signs in, too
            await people.sign_in_without_code(client, "hal", "192.0.2.7")

    seen = await town.flood(flood, beside)
    assert seen.keys() <= {200, 429}, seen
    assert seen[200]
    assert seen[429], "half of the places are of one caller"
    assert town.grown_mib(peak) < 4 * 64


@pytest.mark.parametrize("what", ["pages", "codes"])
async def test_setups_of_second_factors(town: Town, what: str) -> None:
    """By somebody who has passed the first step: pictures are drawn, codes are written down."""
    people = await People().settle(town)
    database = Database(town.location)
    directory = await opened(database)
    for name in ("kim", "lea"):
        user, _ = await add(directory, name, "faculty")
        people.passwords[name] = await directory.users.reset_password(OPERATOR, user.id)
    await database.close()
    peak = memory_peak_bytes(town.gateway.process.pid)
    async with town.client() as thief, town.client() as home:
        csrf, secret = await people.begin_setup(thief, "kim", address(0))
        wrong = {code_at(secret, int(time.time()) // 30 + step) for step in range(-9, 60)}
        step = f"step={thief.cookies['step']}"

        async def send(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
            headers = {"cookie": step, "x-forwarded-for": address(number)}
            if what == "pages":
                return await client.get("/login/enrol", headers=headers)
            code = next(one for one in (f"{number + n:06}" for n in range(99)) if one not in wrong)
            fields = {"code": code, "csrf": csrf}
            return await client.post("/login/enrol", data=fields, headers=headers)

        async def beside() -> None:
            csrf, secret = await people.begin_setup(home, "lea", "192.0.2.7")
            fields = {"code": code_at(secret, int(time.time()) // 30), "csrf": csrf}
            answer = await home.post("/login/enrol", data=fields)
            assert answer.status_code == 200, answer.text

        begun_s = time.monotonic()
        seen = await town.flood(send, beside)
        if what == "codes":
            assert seen.keys() <= {400, 429}, seen
            assert 0 < seen[400] <= FREE + (time.monotonic() - begun_s) / EVERY_S + 1, seen
            assert seen[429]
        else:
            # a slow client never has so many waiting that one is refused
            assert seen.keys() <= {200, 429}, seen
        assert town.grown_mib(peak) < 64


async def change(
    client: httpx2.AsyncClient, old: str, new: str, proof: dict[str, str], source: str
) -> httpx2.Response:
    """Changes the password of the user of these headers."""
    body = {"current_password": old, "new_password": new}
    return await client.post("/me/password", json=body, headers=proof | {"x-forwarded-for": source})


def session_of(client: httpx2.AsyncClient) -> dict[str, str]:
    """The headers of a browser's session, without what else the browser keeps."""
    cookie = f"session={client.cookies['session']}"
    return {"cookie": cookie, "x-csrf-token": client.cookies["csrf"]}


def cookies_of(client: httpx2.AsyncClient) -> str:
    """All cookies of a browser."""
    return "; ".join(f"{name}={value}" for name, value in client.cookies.items())
