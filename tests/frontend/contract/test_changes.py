"""Every route and command that changes what somebody may do takes effect at another gateway, with
and without Redis. How soon is what the intervals say by which gateways read."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from frontend.accounts.callers import CHECK_S
from frontend.accounts.memory import RULES_US
from tests.support.bank import Bank, staffed
from tests.support.changes import CASES
from tests.support.databases import Databases, url_of
from tests.support.echo import EchoTriton
from tests.support.fleet import Fleet
from tests.support.gateway import run_gateway
from tests.support.processes import wait_for
from tests.support.redis import RedisServer
from tests.support.routes import routes

OTHERS = {
    # add something that is not used yet
    "POST /admin/organisations", "POST /admin/groups", "POST /admin/roles", "POST /admin/users",
    "POST /admin/plans", "POST /key-requests", "POST /me/quota-requests",
    # refused while somebody is in it
    "DELETE /admin/organisations/{id}", "DELETE /admin/groups/{id}", "DELETE /admin/roles/{id}",
    "DELETE /admin/plans/{id}",
    # change no limit, and are read from the database each time
    "PATCH /me", "POST /admin/key-requests/{id}/refuse", "POST /admin/quota-requests/{id}/refuse",
    "POST /me/quota-requests/{id}/seen", "POST /me/second-factor",
    "POST /me/second-factor/confirm", "POST /me/second-factor/remove",
}  # fmt: skip
"""Changes of accounts that are not tried here."""


@pytest.fixture(scope="module", params=["redis", "no redis"])
def fleet(
    request: pytest.FixtureRequest,
    echo_triton: EchoTriton,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    """With Redis on PostgreSQL, and without it on SQLite."""
    folder, with_redis = tmp_path_factory.mktemp("fleet"), request.param == "redis"
    location = databases.postgres() if with_redis else databases.sqlite()
    admin = asyncio.run(staffed(location))
    flags = ["--require-keys", "--database-url", url_of(location)]
    redis = RedisServer(folder)
    triton = echo_triton.grpc_address
    with pytest.MonkeyPatch.context() as patch:
        if with_redis:
            redis.start()
            patch.setenv("TRITON_FRONTEND_REDIS_URL", redis.url)
        patch.setenv("TRITON_FRONTEND_DATA_DIRECTORY", str(folder))
        with (
            run_gateway(triton, folder / "one", *flags) as one,
            run_gateway(triton, folder / "two", *flags) as two,
        ):
            yield Fleet(Bank(one, location, admin), Bank(two, location, admin))
    if with_redis:
        redis.stop()


@pytest.mark.parametrize("by_command", [False, True])
@pytest.mark.parametrize(
    ("measure", "period"),
    [("requests", "minute"), ("requests", "day"), ("tokens", "month"), ("tokens", "30d")],
)
def test_a_reset_is_known_to_the_other_gateway(
    fleet: Fleet, measure: str, period: str, by_command: bool
) -> None:
    user, key, _ = fleet.user()
    # of a minute, less is left for the next request than the limit: it refills by itself
    quota = fleet.quota(user, 40, measure=measure, period=period)
    wait_for(lambda: fleet.limit(key, f"limit-{measure}") == "40", what="the limit")
    wait_for(lambda: fleet.chat(key).status_code == 429, what="the end of the limit")
    if by_command:
        fleet.command("quotas", "reset", quota)
    else:
        fleet.do("POST", f"/admin/quotas/{quota}/reset")
    wait_for(lambda: fleet.chat(key).status_code == 200, what="the reset")


def test_credits_that_were_taken_back_are_gone_at_the_other_gateway(fleet: Fleet) -> None:
    user, key, _ = fleet.user()
    fleet.subscribe(user, fleet.plan(credits=100_000))
    for _ in range(3):  # the other gateway knows the balance and grants from memory
        assert fleet.chat(key).status_code == 200
    whose = f"scope_kind=user&scope_id={user}"
    wait_for(
        lambda: fleet.one.ask("GET", f"/admin/credits?{whose}").json()["spent"] == 3, what="spent"
    )
    fleet.command("credits", "grant", "--user", user, "-99997")
    wait_for(lambda: fleet.chat(key).status_code == 429, what="the refusal")
    balance = fleet.one.ask("GET", f"/admin/credits?{whose}").json()
    assert balance["available"] >= 0


@pytest.mark.parametrize("name", CASES)
def test_a_change_is_known_to_the_other_gateway(fleet: Fleet, name: str) -> None:
    change, is_seen = CASES[name](fleet)
    # from now on the other gateway has the state before the change in its memory
    assert not is_seen(), name
    change()
    wait_for(is_seen, what=name)


def test_gateways_read_more_often_than_once_a_second() -> None:
    assert CHECK_S < 1
    assert RULES_US < 1_000_000


def test_every_change_of_accounts_is_tried(tmp_path: Path) -> None:
    ours = ("/admin/organisations", "/admin/groups", "/admin/roles", "/admin/users", "/admin/keys")
    ours += ("/admin/key-requests", "/key-requests", "/me", "/admin/quota", "/admin/plans")
    ours += ("/admin/subscriptions", "/admin/credits", "/admin/prices")
    changes = {
        f"{route.method} {route.path}"
        for route in routes(tmp_path)
        if route.method != "GET" and route.path.startswith(ours)
    }
    tried = {name for name in CASES if not name.startswith("$")} | {"POST /admin/quotas/{id}/reset"}
    assert tried | OTHERS == changes
    assert not tried & OTHERS
