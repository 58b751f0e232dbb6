"""Keys: shown once, narrowed only, rotated with grace, and the same for a repeated request."""

import asyncio
import time
from dataclasses import replace

import pytest

from frontend.accounts.callers import Callers
from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.keys import Budget, NewKey
from frontend.domain.identity import Scope
from frontend.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthorized
from frontend.store.database import Database
from frontend.store.records import Range
from tests.support.accounts import acting, add, find

SECOND_US = 1_000_000


def in_us(seconds: float) -> int:
    return int((time.time() + seconds) * 1e6)


async def test_a_key_leads_to_its_owner(directory: Directory, callers: Callers) -> None:
    user, text = await add(directory, "ada", "faculty")
    caller = await find(callers, text)
    assert caller is not None
    assert (caller.user, caller.name, caller.role.name) == (user.id, "ada", "faculty")
    assert (caller.role.weight, caller.group) == (3, user.group_id)
    assert caller.organisation
    assert text.startswith(f"tt-{caller.key}-")
    assert await find(callers, text[:-1] + ("0" if text[-1] != "0" else "1")) is None
    assert await find(callers, "tt-" + "a" * 16 + "-" + "a" * 43) is None
    assert await find(callers, "tk-anything") is None


async def test_only_a_digest_is_stored(directory: Directory, database: Database) -> None:
    _, text = await add(directory, "ada")
    secret = text.rpartition("-")[2]
    async with database.connect() as rows:
        for table in ("keys", "admin_events", "idempotency_keys"):
            stored = (await rows.exec_driver_sql(f"SELECT * FROM {table}")).all()  # noqa: S608
            assert secret not in str(stored)


async def test_what_is_revoked_stops_and_what_is_disabled_can_return(
    directory: Directory, callers: Callers
) -> None:
    user, text = await add(directory, "ada")
    caller = await find(callers, text)
    assert caller is not None
    await directory.users.edit(OPERATOR, user.id, {"disabled": True})
    await callers.check()
    with pytest.raises(Unauthorized, match="disabled"):
        await find(callers, text)
    await directory.users.edit(OPERATOR, user.id, {"disabled": False})
    await callers.check()
    assert await find(callers, text) == caller
    await directory.keys.delete(OPERATOR, caller.key)
    await callers.check()
    assert await find(callers, text) is None
    with pytest.raises(NotFound):
        await directory.keys.get(caller.key)


async def test_a_key_expires(directory: Directory, database: Database) -> None:
    user, _ = await add(directory, "ada")
    made = await directory.keys.create(OPERATOR, user.id, NewKey(expires_at_us=in_us(3600)))
    assert made.text is not None
    assert await find(Callers(database), made.text) is not None
    later = Callers(database, now_us=lambda: in_us(7200))
    with pytest.raises(Unauthorized, match="expired"):
        await find(later, made.text)
    wrong = made.text[:-1] + ("0" if made.text[-1] != "0" else "1")
    assert await find(later, wrong) is None, "only the owner of the key is shown why"


async def test_both_texts_work_until_the_grace_period_ends(
    directory: Directory, database: Database, callers: Callers
) -> None:
    _, old = await add(directory, "ada")
    before = await find(callers, old)
    assert before is not None
    made = await directory.keys.rotate(OPERATOR, before.key, 60)
    assert made.text is not None
    await callers.check()
    for text in (old, made.text):
        caller = await find(callers, text)
        assert caller is not None
        assert caller.key == before.key, "both count on the same public id"
    later = Callers(database, now_us=lambda: in_us(61))
    assert await find(later, old) is None
    assert await find(later, made.text) is not None
    now = await directory.keys.rotate(OPERATOR, before.key, 0)
    await callers.check()
    assert await find(callers, made.text) is None, "a grace period of 0 ends immediately"
    assert now.text is not None
    assert await find(callers, now.text) is not None


async def test_a_repeated_request_has_the_same_result(
    directory: Directory, callers: Callers
) -> None:
    user, text = await add(directory, "ada")
    caller = await find(callers, text)
    assert caller is not None
    once = acting(caller, text, "retry-1", b"rotate")
    first, second = await asyncio.gather(
        *(directory.keys.rotate(once, caller.key, 60, user.id) for _ in range(2))
    )
    assert first == second
    assert first.text is not None
    assert first.text != text
    other = replace(once, idempotency_key="retry-2", body=b"create")
    made = [await directory.keys.create(other, user.id, NewKey("ci")) for _ in range(3)]
    assert made[0] == made[1] == made[2]
    assert len(await directory.keys.page(Range(10), user_id=user.id)) == 2
    with pytest.raises(Conflict, match="another request"):
        await directory.keys.create(replace(other, body=b"x"), user.id, NewKey("ci"))
    await directory.keys.rotate(OPERATOR, made[0].key.id, 60)
    again = await directory.keys.create(other, user.id, NewKey("ci"))
    assert again.text is None, "the text was replaced, so it is not returned any more"


async def test_a_repeated_edit_is_carried_out_and_recorded_again(on_sqlite: Directory) -> None:
    user, _ = await add(on_sqlite, "ada")
    once = replace(OPERATOR, idempotency_key="edit", body=b"edit")
    for _ in range(2):
        await on_sqlite.users.edit(once, user.id, {"display_name": "Ada"})
        await on_sqlite.users.edit(OPERATOR, user.id, {"display_name": ""})
    events = await on_sqlite.events.page(Range(10), target_id=user.id)
    assert [event.action for event in events].count("users.edit") == 4


async def test_a_failed_request_can_be_repeated(directory: Directory, callers: Callers) -> None:
    user, text = await add(directory, "ada")
    caller = await find(callers, text)
    assert caller is not None
    once = acting(caller, text, "retry", b"create")
    with pytest.raises(InvalidRequest):
        await directory.keys.create(once, user.id, NewKey(networks=["no"]))
    assert (await directory.keys.create(once, user.id, NewKey())).text is not None


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (NewKey("a\nb"), "name"),
        (NewKey("a" * 65), "name"),
        (NewKey(models=[]), "models"),
        (NewKey(models=["a b"]), "models"),
        (NewKey(models=["m"] * 101), "models"),
        (NewKey(endpoints=["v1"]), "endpoints"),
        (NewKey(networks=["192.0.2.1/24"]), "networks"),
        (NewKey(expires_at_us=1), "expires_at"),
    ],
)
async def test_a_wrong_field_makes_no_key(on_sqlite: Directory, new: NewKey, field: str) -> None:
    user, _ = await add(on_sqlite, "ada")
    with pytest.raises(InvalidRequest) as refused:
        await on_sqlite.keys.create(OPERATOR, user.id, new)
    assert refused.value.param == field
    assert len(await on_sqlite.keys.page(Range(10), user_id=user.id)) == 1


async def test_a_key_and_its_budget_are_made_together(
    directory: Directory, database: Database
) -> None:
    user, _ = await add(directory, "ada")
    made = await directory.keys.create(OPERATOR, user.id, NewKey(budget=Budget(500, "month")))
    quotas = await directory.quotas.page(Range(10), scope_id=made.key.id)
    assert [(one.measure, one.period, one.amount) for one in quotas] == [("tokens", "month", 500)]
    for budget, field in (
        (Budget(500, "fortnight"), "budget.period"),
        (Budget(-1, "month"), "budget.tokens"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await directory.keys.create(OPERATOR, user.id, NewKey(budget=budget))
        assert refused.value.param == field
    assert len(await directory.keys.page(Range(10), user_id=user.id)) == 2


async def test_a_key_makes_none_that_allows_more(directory: Directory, callers: Callers) -> None:
    user, text = await add(directory, "ada")
    caller = await find(callers, text)
    assert caller is not None
    narrow = replace(acting(caller), scope=Scope(models=("a*",)), expires_at_us=in_us(3600))
    soon = in_us(60)
    made = await directory.keys.create(narrow, user.id, NewKey(models=["a1"], expires_at_us=soon))
    for new in (
        NewKey(expires_at_us=soon),
        NewKey(models=["b"], expires_at_us=soon),
        NewKey(models=["*"], expires_at_us=soon),
        NewKey(models=["a1"]),
        NewKey(models=["a1"], expires_at_us=in_us(7200)),
    ):
        with pytest.raises(Forbidden):
            await directory.keys.create(narrow, user.id, new)
    for attempt in (
        directory.keys.edit(narrow, made.key.id, {"models": None}, user.id),
        directory.keys.edit(narrow, made.key.id, {"expires_at_us": None}, user.id),
        directory.keys.rotate(narrow, caller.key, 60, user.id),
    ):
        with pytest.raises(Forbidden):
            await attempt


async def test_a_key_with_a_quota_makes_no_key_without_one(
    directory: Directory, callers: Callers
) -> None:
    user, text = await add(directory, "ada", "admin")
    made = await directory.keys.create(OPERATOR, user.id, NewKey(budget=Budget(500, "month")))
    whole, narrow = await find(callers, text), await find(callers, str(made.text))
    assert whole is not None
    assert narrow is not None
    held = acting(narrow)
    for attempt in (
        directory.keys.create(held, user.id, NewKey()),
        directory.keys.create(held, user.id, NewKey(budget=Budget(400, "month"))),
        directory.keys.rotate(held, whole.key, 60, user.id),
        directory.users.reset_password(held, user.id),
    ):
        with pytest.raises(Forbidden, match="that has its own quota"):
            await attempt
    assert (await directory.keys.rotate(held, narrow.key, 60, user.id)).text
    (quota,) = await directory.quotas.page(Range(10), scope_id=narrow.key)
    await directory.quotas.delete(OPERATOR, quota.id)
    assert (await directory.keys.create(held, user.id, NewKey())).text
    assert await directory.users.reset_password(acting(whole), user.id)


async def test_a_key_with_limits_opens_no_session(directory: Directory, callers: Callers) -> None:
    """A session has neither the scope nor the end of a key, and can make keys without them."""
    user, text = await add(directory, "ada", "admin")
    caller = await find(callers, text)
    assert caller is not None
    for limits in ({"scope": Scope(models=("a*",))}, {"expires_at_us": in_us(3600)}):
        with pytest.raises(Forbidden, match="cannot set passwords"):
            await directory.users.reset_password(replace(acting(caller), **limits), user.id)


async def test_keys_of_others_do_not_exist(directory: Directory, callers: Callers) -> None:
    ada, _ = await add(directory, "ada")
    _, text = await add(directory, "eve")
    caller = await find(callers, text)
    assert caller is not None
    (key,) = await directory.keys.page(Range(10), user_id=ada.id)
    eve = acting(caller)
    for attempt in (
        directory.keys.get(key.id, eve.id),
        directory.keys.edit(eve, key.id, {"name": "mine"}, eve.id),
        directory.keys.rotate(eve, key.id, 60, eve.id),
        directory.keys.delete(eve, key.id, eve.id),
        directory.keys.get("\x00", eve.id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_an_owner_cannot_enable_what_was_disabled(
    directory: Directory, callers: Callers
) -> None:
    user, text = await add(directory, "ada")
    caller = await find(callers, text)
    assert caller is not None
    await directory.keys.edit(OPERATOR, caller.key, {"disabled": True})
    with pytest.raises(Forbidden):
        await directory.keys.edit(acting(caller), caller.key, {"disabled": False}, user.id)
    with pytest.raises(Conflict):
        await directory.keys.rotate(OPERATOR, caller.key, 60)
    edited = await directory.keys.edit(OPERATOR, caller.key, {"disabled": False})
    assert edited.disabled_at_us is None


async def test_a_user_has_a_bounded_number_of_keys(
    on_sqlite: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.accounts.directory.keys.MAX_KEYS", 3)
    user, _ = await add(on_sqlite, "ada")
    for _ in range(2):
        await on_sqlite.keys.create(OPERATOR, user.id, NewKey())
    with pytest.raises(Conflict, match="3 keys"):
        await on_sqlite.keys.create(OPERATOR, user.id, NewKey())


async def test_last_use_is_stored(directory: Directory, callers: Callers) -> None:
    _, text = await add(directory, "ada")
    caller = await find(callers, text)
    assert caller is not None
    assert (await directory.keys.get(caller.key)).last_used_at_us is None
    await callers.flush()
    used_at_us = (await directory.keys.get(caller.key)).last_used_at_us
    assert used_at_us is not None
    assert abs(used_at_us - in_us(0)) < 60 * SECOND_US
