"""`/admin/plans`, `/admin/subscriptions`, `/admin/credits` and `/admin/prices`."""

from dataclasses import dataclass

from frontend.accounts.directory.plans import Plans, Prices, Subscriptions
from frontend.dialects.admin import plans as shown
from frontend.dialects.admin.answers import render_deleted
from frontend.dialects.admin.query import parse_query
from frontend.domain.request import Request
from frontend.errors import InvalidRequest
from frontend.http.client import Client
from frontend.routes.accounts import Desk, parameter


@dataclass(frozen=True, slots=True)
class PlanRoutes:
    """Plans."""

    desk: Desk
    plans: Plans

    async def page(self, _: Request, client: Client) -> None:
        """GET /admin/plans"""
        await self.desk.send_page(client, self.plans.page, shown.show_plan, ("search", "ids"))

    async def get(self, _: Request, client: Client) -> None:
        """GET /admin/plans/{id}"""
        await self.desk.send(client, shown.show_plan(await self.plans.get(parameter(client))))

    async def create(self, request: Request, client: Client) -> None:
        """POST /admin/plans"""
        body, actor = await self.desk.read(request, client, shown.PlanBody)
        made = await self.plans.create(actor, body.name, shown.values_of_plan(body))
        await self.desk.send(client, shown.show_plan(made), 201)

    async def edit(self, request: Request, client: Client) -> None:
        """PATCH /admin/plans/{id}"""
        body, actor = await self.desk.read(request, client, shown.PlanEdit)
        edited = await self.plans.edit(actor, parameter(client), shown.changes_of_plan(body))
        await self.desk.send(client, shown.show_plan(edited))

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /admin/plans/{id}"""
        await self.plans.delete(self.desk.actor(request, client), parameter(client))
        await client.respond(render_deleted("plan", parameter(client)))


@dataclass(frozen=True, slots=True)
class CreditRoutes:
    """Subscriptions and credits."""

    desk: Desk
    subscriptions: Subscriptions

    async def page(self, _: Request, client: Client) -> None:
        """GET /admin/subscriptions"""
        filters = ("scope_kind", "scope_id", "plan_id")
        show = shown.show_subscription
        await self.desk.send_page(client, self.subscriptions.page, show, filters)

    async def subscribe(self, request: Request, client: Client) -> None:
        """POST /admin/subscriptions"""
        body, actor = await self.desk.read(request, client, shown.SubscriptionBody)
        made = await self.subscriptions.subscribe(
            actor, body.scope_kind, body.scope_id, body.plan_id
        )
        await self.desk.send(client, shown.show_subscription(made))

    async def end(self, request: Request, client: Client) -> None:
        """DELETE /admin/subscriptions/{id}"""
        await self.subscriptions.end(self.desk.actor(request, client), parameter(client))
        await client.respond(render_deleted("subscription", parameter(client)))

    async def balances(self, _: Request, client: Client) -> None:
        """GET /admin/credits"""
        query = parse_query(client.scope["query_string"], ("scope_kind", "scope_id"))
        for name in ("scope_kind", "scope_id"):
            if name not in query.filters:
                raise InvalidRequest(f"'{name}' is required", param=name)
        kind, holder = query.filters["scope_kind"], query.filters["scope_id"]
        balances = await self.subscriptions.credits(kind, holder)
        await self.desk.send(client, shown.show_credits(kind, holder, balances))

    async def grant(self, request: Request, client: Client) -> None:
        """POST /admin/credits"""
        body, actor = await self.desk.read(request, client, shown.CreditsBody)
        amount = shown.micro(body.credits)
        balances = await self.subscriptions.grant(
            actor, body.scope_kind, body.scope_id, amount, body.note
        )
        await self.desk.send(client, shown.show_credits(body.scope_kind, body.scope_id, balances))


@dataclass(frozen=True, slots=True)
class PriceRoutes:
    """The price table."""

    desk: Desk
    prices: Prices

    async def page(self, _: Request, client: Client) -> None:
        """GET /admin/prices"""
        await self.desk.send_page(client, self.prices.page, shown.show_price, ("model",))

    async def create(self, request: Request, client: Client) -> None:
        """POST /admin/prices"""
        body, actor = await self.desk.read(request, client, shown.PriceBody)
        values = shown.columns_of_price(body)
        made = await self.prices.create(actor, body.model, values)
        await self.desk.send(client, shown.show_price(made), 201)

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /admin/prices/{id}"""
        await self.prices.delete(self.desk.actor(request, client), parameter(client))
        await client.respond(render_deleted("price", parameter(client)))
