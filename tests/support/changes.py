"""The changes of accounts that another gateway must know, by route and by command."""

from collections.abc import Callable

from frontend.domain.ids import new_id
from tests.support.fleet import Fleet
from tests.support.processes import wait_for

Seen = Callable[[], bool]
Trial = tuple[Callable[[], object], Seen]
"""The change, and whether the other gateway knows it."""
Make = Callable[[Fleet], Trial]
CASES: dict[str, Make] = {}


def case(*names: str) -> Callable[[Make], Make]:
    """Adds the case of a route or a command."""

    def add(make: Make) -> Make:
        CASES.update(dict.fromkeys(names, make))
        return make

    return add


def both(route: str, command: str) -> Callable[[Callable[[Fleet, bool], Trial]], None]:
    """Adds a case of a route and of the command that does the same."""

    def add(make: Callable[[Fleet, bool], Trial]) -> None:
        CASES[route] = lambda fleet: make(fleet, False)
        CASES[f"$ {command}"] = lambda fleet: make(fleet, True)

    return add


@both("DELETE /admin/keys/{id}", "keys revoke")
def _(fleet: Fleet, by_command: bool) -> Trial:
    _, key, key_id = fleet.user()
    change = fleet.by(
        by_command,
        lambda: fleet.command("keys", "revoke", key_id),
        lambda: fleet.do("DELETE", f"/admin/keys/{key_id}"),
    )
    return change, lambda: fleet.status(key) == 401


@case("DELETE /me/keys/{id}")
def _(fleet: Fleet) -> Trial:
    _, key, key_id = fleet.user()
    return (lambda: fleet.do("DELETE", f"/me/keys/{key_id}", key)), lambda: fleet.status(key) == 401


@both("PATCH /admin/keys/{id}", "keys edit")
def _(fleet: Fleet, by_command: bool) -> Trial:
    _, key, key_id = fleet.user()
    change = fleet.by(
        by_command,
        lambda: fleet.command("keys", "edit", key_id, "--disabled"),
        lambda: fleet.do("PATCH", f"/admin/keys/{key_id}", disabled=True),
    )
    return change, lambda: fleet.status(key) == 401


@case("PATCH /me/keys/{id}")
def _(fleet: Fleet) -> Trial:
    _, key, key_id = fleet.user()
    change = lambda: fleet.do("PATCH", f"/me/keys/{key_id}", key, models=["echo-none"])  # noqa: E731
    return change, lambda: fleet.chat(key).status_code in (403, 404)


@both("POST /admin/keys/{id}/rotate", "keys rotate")
def _(fleet: Fleet, by_command: bool) -> Trial:
    _, key, key_id = fleet.user()
    change = fleet.by(
        by_command,
        lambda: fleet.command("keys", "rotate", key_id, "--grace", "0s"),
        lambda: fleet.do("POST", f"/admin/keys/{key_id}/rotate", grace_s=0),
    )
    return change, lambda: fleet.status(key) == 401


@case("POST /me/keys/{id}/rotate")
def _(fleet: Fleet) -> Trial:
    _, key, key_id = fleet.user()
    change = lambda: fleet.do("POST", f"/me/keys/{key_id}/rotate", key, grace_s=0)  # noqa: E731
    return change, lambda: fleet.status(key) == 401


@case("POST /admin/keys", "POST /me/keys")
def _(fleet: Fleet) -> Trial:
    user, key, _ = fleet.user()
    made: list[str] = []

    def change() -> None:
        made.append(fleet.do("POST", "/admin/keys", user_id=user)["key"])
        made.append(fleet.do("POST", "/me/keys", key, name="own")["key"])

    return change, lambda: bool(made) and {fleet.status(one) for one in made} == {200}


@both("PATCH /admin/users/{id}", "users disable")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    change = fleet.by(
        by_command,
        lambda: fleet.command("users", "disable", user),
        lambda: fleet.do("PATCH", f"/admin/users/{user}", disabled=True),
    )
    return change, lambda: fleet.status(key) == 401


@case("$ users edit")
def _(fleet: Fleet) -> Trial:
    user, key, _ = fleet.user()
    change = lambda: fleet.command("users", "edit", user, "--role", "faculty")  # noqa: E731
    return change, lambda: fleet.me(key)["weight"] == 3


@both("DELETE /admin/users/{id}", "users delete")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    change = fleet.by(
        by_command,
        lambda: fleet.command("users", "delete", user),
        lambda: fleet.do("DELETE", f"/admin/users/{user}"),
    )
    return change, lambda: fleet.status(key) == 401


@both("POST /admin/users/{id}/password", "users password")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    browser = fleet.sign_in(fleet.me(key)["name"], fleet.password(user))
    change = fleet.by(
        by_command,
        lambda: fleet.command("users", "password", user),
        lambda: fleet.do("POST", f"/admin/users/{user}/password"),
    )
    return change, lambda: browser.status() == 401


@both("DELETE /admin/users/{id}/second-factor", "users reset-factor")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    browser = fleet.sign_in(fleet.me(key)["name"], fleet.password(user))
    change = fleet.by(
        by_command,
        lambda: fleet.command("users", "reset-factor", user),
        lambda: fleet.do("DELETE", f"/admin/users/{user}/second-factor"),
    )
    return change, lambda: browser.status() == 401


@case("POST /me/password")
def _(fleet: Fleet) -> Trial:
    user, key, _ = fleet.user()
    password = fleet.password(user)
    browser = fleet.sign_in(fleet.me(key)["name"], password)
    words = {"current_password": password, "new_password": "another password 7"}
    return (lambda: fleet.do("POST", "/me/password", key, **words)), lambda: browser.status() == 401


@case("DELETE /me/sessions/{id}", "POST /me/sessions/end-others")
def _(fleet: Fleet) -> Trial:
    user, key, _ = fleet.user()
    name, password = fleet.me(key)["name"], fleet.password(user)
    browsers = [fleet.sign_in(name, password) for _ in range(2)]

    def change() -> None:
        (first, *_) = fleet.do("GET", "/me/sessions", key)["data"]
        fleet.do("DELETE", f"/me/sessions/{first['id']}", key)
        fleet.do("POST", "/me/sessions/end-others", key)

    return change, lambda: {one.status() for one in browsers} == {401}


@both("PATCH /admin/groups/{id}", "groups edit")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    group = fleet.do("POST", "/admin/groups", name=f"g{new_id()}")["id"]
    fleet.do("PATCH", f"/admin/users/{user}", group_id=group)
    wait_for(lambda: fleet.me(key)["group_id"] == group, what="the group")
    change = fleet.by(
        by_command,
        lambda: fleet.command("groups", "edit", group, "--disabled"),
        lambda: fleet.do("PATCH", f"/admin/groups/{group}", disabled=True),
    )
    return change, lambda: fleet.status(key) == 401


@both("PATCH /admin/organisations/{id}", "organisations edit")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    whole = fleet.do("POST", "/admin/organisations", name=f"o{new_id()}")["id"]
    group = fleet.do("POST", "/admin/groups", name="g", organisation_id=whole)["id"]
    fleet.do("PATCH", f"/admin/users/{user}", group_id=group)
    wait_for(lambda: fleet.me(key)["organisation_id"] == whole, what="the organisation")
    change = fleet.by(
        by_command,
        lambda: fleet.command("organisations", "edit", whole, "--disabled"),
        lambda: fleet.do("PATCH", f"/admin/organisations/{whole}", disabled=True),
    )
    return change, lambda: fleet.status(key) == 401


@both("PATCH /admin/roles/{id}", "roles edit")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    role = f"r{new_id()}"
    fleet.do("POST", "/admin/roles", name=role, weight=2, permissions=["infer", "self"])
    fleet.do("PATCH", f"/admin/users/{user}", role=role)
    wait_for(lambda: fleet.me(key)["weight"] == 2, what="the role")
    change = fleet.by(
        by_command,
        lambda: fleet.command("roles", "edit", role, "--weight", "7", "--permission", "self"),
        lambda: fleet.do("PATCH", f"/admin/roles/{role}", weight=7, permissions=["self"]),
    )
    return change, lambda: fleet.me(key)["weight"] == 7 and fleet.chat(key).status_code == 403


@both("POST /admin/quotas", "quotas create")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()

    what = ("--measure", "requests", "--period", "day")
    change = fleet.by(
        by_command,
        lambda: fleet.command("quotas", "create", "--user", user, *what, "77"),
        lambda: fleet.quota(user, 77),
    )
    return change, lambda: fleet.limit(key) == "77"


@both("PATCH /admin/quotas/{id}", "quotas edit")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    quota = fleet.quota(user, 500)
    change = fleet.by(
        by_command,
        lambda: fleet.command("quotas", "edit", quota, "--amount", "400"),
        lambda: fleet.do("PATCH", f"/admin/quotas/{quota}", amount=400),
    )
    return change, lambda: fleet.limit(key) == "400"


@both("DELETE /admin/quotas/{id}", "quotas delete")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    quota = fleet.quota(user, 1)
    assert fleet.chat(key).status_code == 200
    change = fleet.by(
        by_command,
        lambda: fleet.command("quotas", "delete", quota),
        lambda: fleet.do("DELETE", f"/admin/quotas/{quota}"),
    )
    return change, lambda: fleet.chat(key).status_code == 200


@both("POST /admin/quota-requests/{id}/approve", "quotas approve")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    fleet.quota(user, 50)
    what = {"measure": "requests", "period": "day", "amount": 60, "reason": "a course"}
    asked = fleet.do("POST", "/me/quota-requests", key, **what)["id"]
    change = fleet.by(
        by_command,
        lambda: fleet.command("quotas", "approve", asked, "--permanent"),
        lambda: fleet.do("POST", f"/admin/quota-requests/{asked}/approve", expires_at=None),
    )
    return change, lambda: fleet.limit(key) == "60"


@both("PATCH /admin/plans/{id}", "plans edit")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    plan = fleet.plan(requests=500)
    fleet.subscribe(user, plan)
    wait_for(lambda: fleet.limit(key) == "500", what="the plan")

    quota = {"measure": "requests", "period": "day", "amount": 90}
    change = fleet.by(
        by_command,
        lambda: fleet.command("plans", "edit", plan, "--quota", "requests/day=90"),
        lambda: fleet.do("PATCH", f"/admin/plans/{plan}", quotas=[quota]),
    )
    return change, lambda: fleet.limit(key) == "90"


@both("POST /admin/subscriptions", "plans subscribe")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    plan = fleet.plan(requests=80)
    change = fleet.by(
        by_command,
        lambda: fleet.command("plans", "subscribe", plan, "--user", user),
        lambda: fleet.subscribe(user, plan),
    )
    return change, lambda: fleet.limit(key) == "80"


@both("DELETE /admin/subscriptions/{id}", "plans end")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    subscription = fleet.subscribe(user, fleet.plan(credits=1))
    assert fleet.chat(key).status_code == 200
    change = fleet.by(
        by_command,
        lambda: fleet.command("plans", "end", subscription),
        lambda: fleet.do("DELETE", f"/admin/subscriptions/{subscription}"),
    )
    return change, lambda: fleet.chat(key).status_code == 200


@both("POST /admin/credits", "credits grant")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    fleet.subscribe(user, fleet.plan(credits=1))
    assert fleet.chat(key).status_code == 200
    assert fleet.chat(key).status_code == 429

    whose = {"scope_kind": "user", "scope_id": user}
    change = fleet.by(
        by_command,
        lambda: fleet.command("credits", "grant", "--user", user, "50"),
        lambda: fleet.do("POST", "/admin/credits", **whose, credits=50, note="more"),
    )
    return change, lambda: fleet.chat(key).status_code == 200


@both("POST /admin/prices", "prices create")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    _end_prices(fleet, user, key)
    change = fleet.by(
        by_command,
        lambda: fleet.command("prices", "create", "echo", "--prompt", "9"),
        lambda: fleet.do("POST", "/admin/prices", model="echo", prompt=3),
    )
    return change, lambda: _price(fleet, user, key) > 0


@both("DELETE /admin/prices/{id}", "prices delete")
def _(fleet: Fleet, by_command: bool) -> Trial:
    user, key, _ = fleet.user()
    _end_prices(fleet, user, key)
    price = fleet.do("POST", "/admin/prices", model="echo", prompt=3)["id"]
    wait_for(lambda: _price(fleet, user, key) > 0, what="the price")
    change = fleet.by(
        by_command,
        lambda: fleet.command("prices", "delete", price),
        lambda: fleet.do("DELETE", f"/admin/prices/{price}"),
    )
    return change, lambda: _price(fleet, user, key) == 0


def _end_prices(fleet: Fleet, user: str, key: str) -> None:
    """Ends what other cases have made, at both gateways."""
    for one in fleet.do("GET", "/admin/prices")["data"]:
        fleet.do("DELETE", f"/admin/prices/{one['id']}")
    wait_for(lambda: _price(fleet, user, key) == 0, what="the end of other prices")


def _price(fleet: Fleet, user: str, key: str) -> float:
    """What one more request at the other gateway costs."""
    path = f"/admin/usage?user_id={user}&interval=total"

    def totals() -> tuple[int, float]:
        found = fleet.one.ask("GET", path).json()["totals"]
        return found["requests"], found["price"]

    requests, before = totals()
    assert fleet.chat(key).status_code == 200
    wait_for(lambda: totals()[0] > requests, what="the usage")
    return totals()[1] - before


@both("POST /admin/key-requests/{id}/approve", "key-requests approve")
def _(fleet: Fleet, by_command: bool) -> Trial:
    form = {"name": f"n{new_id()}", "email": f"{new_id()}@example.org", "reason": "a course"}
    made = fleet.do("POST", "/key-requests", **form)
    change = fleet.by(
        by_command,
        lambda: fleet.command("key-requests", "approve", made["id"]),
        lambda: fleet.do("POST", f"/admin/key-requests/{made['id']}/approve"),
    )
    return change, lambda: fleet.status(made["key"]) == 200
