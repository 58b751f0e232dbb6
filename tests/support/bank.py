"""A gateway whose callers have limits, and what tests ask it."""

from dataclasses import dataclass
from typing import Any

import httpx2

from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import add, opened
from tests.support.gateway import Gateway
from tests.support.processes import wait_for


@dataclass
class Bank:
    """A gateway whose callers have limits."""

    gateway: Gateway
    location: Location
    admin: str

    def ask(
        self, method: str, path: str, key: str = "", body: Any = None, **more: Any
    ) -> httpx2.Response:
        headers = {"authorization": f"Bearer {key or self.admin}"}
        url = self.gateway.url + path
        return httpx2.request(method, url, json=body, headers=headers, timeout=30, **more)

    def make(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.ask("POST", path, body=body)
        assert answer.status_code in (200, 201), answer.text
        made: dict[str, Any] = answer.json()
        return made

    def user(self, name: str, **quotas: int) -> tuple[str, str]:
        """The id and a key of a new user with quotas such as `tokens_month=100`."""
        user = self.make("/admin/users", name=name, role="student")["id"]
        key = self.make("/admin/keys", user_id=user)["key"]
        for quota, amount in quotas.items():
            measure, _, period = quota.partition("_")
            what = {"measure": measure, "period": period, "amount": amount}
            self.make("/admin/quotas", scope_kind="user", scope_id=user, **what)
        return user, key

    def chat(self, key: str, text: str = "hello", **more: Any) -> httpx2.Response:
        message = {"role": "user", "content": text}
        body = {"model": "echo", "messages": [message], **more}
        return self.ask("POST", "/v1/chat/completions", key, body)

    def left(self, key: str, measure: str = "tokens") -> dict[str, Any]:
        """The caller's limit of this measure."""
        data = self.ask("GET", "/me/quotas", key).json()["data"]
        (limit,) = [one for one in data if one["measure"] == measure]
        return dict(limit)

    def settled(self, key: str, measure: str = "tokens") -> int:
        """What is used, once nothing is reserved any more."""
        wait_for(lambda: self.left(key, measure)["reserved"] == 0, what="the settle")
        return int(self.left(key, measure)["used"])


async def staffed(location: Location) -> str:
    """The key of the first administrator of a new database."""
    database = Database(location)
    _, key = await add(await opened(database), "chief", "admin")
    await database.close()
    return key
