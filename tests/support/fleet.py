"""Two gateways on one database: what is changed at one of them is observed at the other one."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2

from frontend.__main__ import main
from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.directory import Directory
from frontend.domain.ids import new_id
from frontend.store.database import Database
from tests.support.bank import Bank
from tests.support.databases import url_of


@dataclass
class Fleet:
    """Changes are made at `one` or by a command, and observed at `two`."""

    one: Bank
    two: Bank

    def user(self, **quotas: int) -> tuple[str, str, str]:
        """The id and a key of a new user, and the key's public id."""
        user, key = self.one.user(f"u{new_id()}", **quotas)
        return user, key, key.split("-")[1]

    def do(self, method: str, path: str, key: str = "", **body: Any) -> dict[str, Any]:
        """A change at the first gateway."""
        answer = self.one.ask(method, path, key, body or None)
        assert answer.status_code in (200, 201, 202), answer.text
        return dict(answer.json())

    def command(self, *arguments: str) -> None:
        """A change on the machine of the database."""
        assert main([*arguments, "--database-url", url_of(self.one.location)]) == 0, arguments

    def by(
        self, by_command: bool, command: Callable[[], None], do: Callable[[], object]
    ) -> Callable[[], object]:
        """The change in one way or the other."""
        return command if by_command else do

    def status(self, key: str) -> int:
        """Whether the other gateway takes a key."""
        return self.two.ask("GET", "/me", key).status_code

    def me(self, key: str) -> dict[str, Any]:
        return dict(self.two.ask("GET", "/me", key).json())

    def chat(self, key: str) -> httpx2.Response:
        return self.two.chat(key, max_tokens=1)

    def limit(self, key: str, kind: str = "limit-requests") -> str:
        """A header of the other gateway's answer; "" without one."""
        return self.chat(key).headers.get(f"x-ratelimit-{kind}", "")

    def quota(self, user: str, amount: int, **more: Any) -> str:
        """The id of a new limit of requests per day, or of another one."""
        what = {"measure": "requests", "period": "day", "amount": amount, **more}
        return str(self.one.make("/admin/quotas", scope_kind="user", scope_id=user, **what)["id"])

    def plan(self, credits: int = 1000, requests: int = 0) -> str:
        """The id of a new plan with credits, and with a limit of requests per day."""
        quotas = [{"measure": "requests", "period": "day", "amount": requests}] if requests else []
        made = self.one.make("/admin/plans", name=f"p{new_id()}", credits=credits, quotas=quotas)
        return str(made["id"])

    def subscribe(self, user: str, plan: str) -> str:
        whose = {"scope_kind": "user", "scope_id": user}
        return str(self.one.make("/admin/subscriptions", **whose, plan_id=plan)["id"])

    def password(self, user: str) -> str:
        """A password that its user need not replace."""

        async def reset() -> str:
            database = Database(self.one.location)
            password = await Directory.of(database).users.reset_password(OPERATOR, user)
            await database.close()
            return password

        return asyncio.run(reset())

    def sign_in(self, name: str, password: str) -> "Browser":
        """A session that the other gateway began."""
        return Browser(self.two.gateway.url, name, password)


class Browser:
    """A session of a user."""

    def __init__(self, url: str, name: str, password: str) -> None:
        self.url = url
        with httpx2.Client(base_url=url, timeout=60) as http:
            page = http.get("/login", headers={"accept": "text/html"}).text
            found = re.search('name="csrf" value="([0-9a-f]+)"', page)
            assert found is not None
            fields = {"name": name, "password": password, "csrf": found[1]}
            answer = http.post("/login", data=fields)
            assert answer.headers["location"] == "/dashboard", answer.text
            self.cookie = f"session={http.cookies['session']}"

    def status(self) -> int:
        """Whether the session is one."""
        headers = {"cookie": self.cookie}
        return httpx2.get(f"{self.url}/me", headers=headers, timeout=60).status_code
