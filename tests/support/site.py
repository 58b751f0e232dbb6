"""A gateway with accounts, and a browser that is signed in to it."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from playwright.sync_api import Browser, Page, expect

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.users import NewUser
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import opened
from tests.support.browser import window
from tests.support.gateway import run_gateway

BROWSER = {"accept": "text/html, */*;q=0.8"}
Settle = Callable[[Directory], Awaitable[None]]


@dataclass
class Site:
    """A gateway, and the passwords of its users, each of whom signs in once."""

    url: str
    passwords: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    _cookies: dict[str, dict[str, str]] = field(default_factory=dict)

    @contextmanager
    def client(self, name: str = "") -> Iterator[httpx2.Client]:
        """A browser without scripts, signed in where a name is given."""
        with httpx2.Client(base_url=self.url, headers=BROWSER, timeout=30) as http:
            if name and name not in self._cookies:
                field_ = re.search('name="csrf" value="([0-9a-f]+)"', http.get("/login").text)
                assert field_ is not None
                fields = {"name": name, "password": self.passwords[name], "csrf": field_[1]}
                assert http.post("/login", data=fields).status_code == 303
                self._cookies[name] = {one.name: one.value or "" for one in http.cookies.jar}
            elif name:
                http.cookies.update(self._cookies[name])
            yield http

    @contextmanager
    def signed_in(self, browser: Browser, name: str, **options: object) -> Iterator[Page]:
        """A page of a user who has signed in. Fails for complaints, as `window` does."""
        with self.client(name), window(browser, base_url=self.url, **options) as page:
            cookies = self._cookies[name].items()
            page.context.add_cookies(
                [{"name": key, "value": value, "url": self.url} for key, value in cookies]
            )
            yield page


def csrf(http: httpx2.Client) -> dict[str, str]:
    """What a request that writes needs besides the cookie."""
    return {"x-csrf-token": http.cookies["csrf"]}


@contextmanager
def run_site(
    triton: str, log: Path, location: Location, people: dict[str, str],
    roles: dict[str, list[str]], *flags: str, settle: Settle | None = None,
) -> Iterator[Site]:  # fmt: skip
    """Runs a gateway with these users, whose values are their roles, until the block ends. `roles`
    are added to the built-in ones, with their permissions."""
    site = Site("")

    async def fill() -> None:
        database = Database(location)
        directory = await opened(database)
        for name, permissions in roles.items():
            await directory.roles.create(OPERATOR, name, 1, permissions)
        for name, role in people.items():
            user = await directory.users.create(OPERATOR, NewUser(name, role))
            site.ids[name] = user.id
            site.passwords[name] = await directory.users.reset_password(OPERATOR, user.id)
        if settle is not None:
            await settle(directory)
        await database.close()

    # Playwright has a loop of its own in this thread
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(fill())).result()
    given = ["--require-keys", "--database-url", f"sqlite:///{location.file}", *flags]
    with run_gateway(triton, log, *given) as gateway:
        site.url = gateway.url
        yield site


def open_admin(page: Page, name: str = "overview") -> None:
    """Opens a page for administrators, and waits until its data is there."""
    page.goto("/admin" if name == "overview" else f"/admin/pages/{name}")
    expect(page.locator("#view")).to_have_attribute("data-ready", "true")
