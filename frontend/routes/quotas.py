"""`/admin/quotas`, `/admin/quota-requests` and `/me/quota-requests`."""

from dataclasses import dataclass

from frontend.accounts.directory.quota_requests import AS_ASKED, QuotaRequests
from frontend.accounts.directory.quotas import Quotas
from frontend.accounts.ledger import Ledger
from frontend.dialects.admin import quotas as shown
from frontend.dialects.admin.answers import render_deleted
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.routes.accounts import Desk, parameter


@dataclass(frozen=True, slots=True)
class QuotaRoutes:
    """Quotas."""

    desk: Desk
    quotas: Quotas
    ledger: Ledger

    async def page(self, _: Request, client: Client) -> None:
        """GET /admin/quotas"""
        filters = ("scope_kind", "scope_id")
        await self.desk.send_page(client, self.quotas.page, shown.show_quota, filters)

    async def create(self, request: Request, client: Client) -> None:
        """POST /admin/quotas"""
        body, actor = await self.desk.read(request, client, shown.QuotaBody)
        made = await self.quotas.create(actor, shown.quota_of(body))
        await self.desk.send(client, shown.show_quota(made), 201)

    async def get(self, _: Request, client: Client) -> None:
        """GET /admin/quotas/{id}"""
        await self.desk.send(client, shown.show_quota(await self.quotas.get(parameter(client))))

    async def edit(self, request: Request, client: Client) -> None:
        """PATCH /admin/quotas/{id}"""
        body, actor = await self.desk.read(request, client, shown.QuotaEdit)
        edited = await self.quotas.edit(actor, parameter(client), shown.changes_of_quota(body))
        await self.desk.send(client, shown.show_quota(edited))

    async def reset(self, request: Request, client: Client) -> None:
        """POST /admin/quotas/{id}/reset"""
        actor = self.desk.actor(request, client)
        # what ended before must not be counted after
        await self.ledger.write()
        quota = await self.quotas.reset(actor, parameter(client))
        await self.desk.send(client, shown.show_quota(quota))

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /admin/quotas/{id}"""
        await self.quotas.delete(self.desk.actor(request, client), parameter(client))
        await client.respond(render_deleted("quota", parameter(client)))


@dataclass(frozen=True, slots=True)
class QuotaRequestRoutes:
    """Requests for higher quotas."""

    desk: Desk
    requests: QuotaRequests

    async def page(self, _: Request, client: Client) -> None:
        """GET /admin/quota-requests"""
        show, filters = shown.show_quota_request, ("status", "user_id", "order")
        await self.desk.send_page(client, self.requests.page, show, filters)

    async def page_own(self, request: Request, client: Client) -> None:
        """GET /me/quota-requests"""
        show, own = shown.show_quota_request, request.user
        await self.desk.send_page(client, self.requests.page, show, ("status",), user_id=own)

    async def file(self, request: Request, client: Client) -> None:
        """POST /me/quota-requests"""
        body, actor = await self.desk.read(request, client, shown.QuotaRequestBody)
        quota = shown.requested_quota_of(body, request.user)
        filed = await self.requests.file(actor, quota, body.reason)
        await self.desk.send(client, shown.show_quota_request(filed), 201)

    async def see(self, request: Request, client: Client) -> None:
        """POST /me/quota-requests/{id}/seen"""
        seen = await self.requests.see(request.user, parameter(client))
        await self.desk.send(client, shown.show_quota_request(seen))

    async def approve(self, request: Request, client: Client) -> None:
        """POST /admin/quota-requests/{id}/approve"""
        body, actor = await self.desk.read(request, client, shown.ApprovalBody)
        expires_us = shown.end_of_approval(body, AS_ASKED)
        decided = await self.requests.approve(actor, parameter(client), body.amount, expires_us)
        await self.desk.send(client, shown.show_quota_request(decided))

    async def refuse(self, request: Request, client: Client) -> None:
        """POST /admin/quota-requests/{id}/refuse"""
        body, actor = await self.desk.read(request, client, shown.RefusalBody)
        decided = await self.requests.refuse(actor, parameter(client), body.note)
        await self.desk.send(client, shown.show_quota_request(decided))
