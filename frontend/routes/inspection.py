"""`/admin/settings`: the settings that this gateway process started with, without their secrets."""

from dataclasses import dataclass
from typing import Any

from frontend.dialects.admin.answers import render
from frontend.domain.request import Request
from frontend.http.client import Client


@dataclass(frozen=True, slots=True)
class SettingsRoutes:
    """`shown`: every setting as plain data."""

    shown: list[dict[str, Any]]

    async def show(self, _: Request, client: Client) -> None:
        """GET /admin/settings"""
        page = {"object": "list", "data": self.shown, "has_more": False, "next_after": None}
        await client.respond(render(page))
