"""Users, groups and roles: nobody gains rights by a change, and deleted names leave nothing."""

import asyncio

import pytest
from argon2 import PasswordHasher

from frontend.accounts.callers import Callers
from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.keys import NewKey
from frontend.accounts.directory.users import NewUser
from frontend.accounts.passwords import Passwords
from frontend.accounts.roles import USER
from frontend.domain.identity import Caller
from frontend.errors import (
    Conflict,
    Forbidden,
    GatewayError,
    InvalidRequest,
    NotFound,
    Overloaded,
    RateLimited,
)
from frontend.store.records import Range
from tests.support.accounts import acting, add, find


async def test_a_user_belongs_to_a_group_and_an_organisation(directory: Directory) -> None:
    organisation = await directory.organisations.create(OPERATOR, "lab")
    group = await directory.groups.create(OPERATOR, "team", organisation.id, 4)
    new = NewUser("ada", "faculty", group.id, "Ada L.", "ada@example.org")
    user = await directory.users.create(OPERATOR, new)
    assert await directory.users.get(user.id) == user
    assert (user.group_id, user.role, user.email) == (group.id, "faculty", "ada@example.org")
    for delete, one in (
        (directory.groups.delete, group.id),
        (directory.organisations.delete, organisation.id),
    ):
        with pytest.raises(Conflict, match="still has"):
            await delete(OPERATOR, one)


async def test_who_is_created_again_is_somebody_else(
    directory: Directory, callers: Callers
) -> None:
    first, text = await add(directory, "ada")
    caller = await find(callers, text)
    assert caller is not None
    assert caller.user == first.id
    await directory.users.delete(OPERATOR, first.id)
    second, other = await add(directory, "ada")
    assert second.id != first.id
    await callers.check()
    assert await find(callers, text) is None
    again = await find(callers, other)
    assert again is not None
    assert again.user == second.id
    assert await directory.keys.page(Range(10), user_id=first.id) == []


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (NewUser("a b"), "name"),
        (NewUser(""), "name"),
        (NewUser("a" * 65), "name"),
        (NewUser("anonymous"), "name"),
        (NewUser("a", role="owner"), "role"),
        (NewUser("a", group_id="no"), "group_id"),
        (NewUser("a", group_id="\x00"), "group_id"),
        (NewUser("a", email="no"), "email"),
        (NewUser("a", email="a\x00@example.org"), "email"),
        (NewUser("a", display_name="a\nb"), "display_name"),
    ],
)
async def test_a_wrong_field_is_named(on_sqlite: Directory, new: NewUser, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await on_sqlite.users.create(OPERATOR, new)
    assert refused.value.param == field


async def test_names_and_addresses_are_unique(directory: Directory) -> None:
    await directory.users.create(OPERATOR, NewUser("ada", email="ada@example.org"))
    for new, field in (
        (NewUser("ada"), "name"),
        (NewUser("eve", email="ada@example.org"), "email"),
    ):
        with pytest.raises(Conflict) as refused:
            await directory.users.create(OPERATOR, new)
        assert refused.value.param == field
        assert "already exists" in refused.value.message


async def test_nobody_gives_or_takes_rights_that_they_do_not_have(
    directory: Directory, callers: Callers
) -> None:
    boss, _ = await add(directory, "boss", "admin")
    await directory.roles.create(OPERATOR, "desk", 1, ["infer", "self", "users", "keys", "roles"])
    ada, _ = await add(directory, "ada")
    user, text = await add(directory, "eve", "desk")
    caller = await find(callers, text)
    assert caller is not None
    desk = acting(caller)
    await directory.users.edit(desk, ada.id, {"role": "staff"})
    for attempt in (
        directory.users.create(desk, NewUser("mallory", "admin")),
        directory.users.edit(desk, ada.id, {"role": "admin"}),
        directory.users.edit(desk, user.id, {"role": "student"}),
        directory.users.edit(desk, user.id, {"group_id": ada.group_id}),
        directory.users.edit(desk, boss.id, {"email": "eve@example.org"}),
        directory.users.reset_password(desk, boss.id),
        directory.users.delete(desk, boss.id),
        directory.users.delete(desk, user.id),
        directory.keys.create(desk, boss.id, NewKey()),
        directory.roles.edit(desk, "desk", {"weight": 1000}),
        directory.roles.edit(desk, "staff", {"permissions": ["load"]}),
        directory.roles.edit(desk, "admin", {"weight": 1}),
        directory.roles.create(desk, "more", 1, ["groups"]),
    ):
        with pytest.raises(Forbidden):
            await attempt


async def test_the_last_administrator_stays(directory: Directory) -> None:
    first, _ = await add(directory, "first", "admin")
    for attempt in (
        directory.users.delete(OPERATOR, first.id),
        directory.users.edit(OPERATOR, first.id, {"role": "staff"}),
        directory.users.edit(OPERATOR, first.id, {"disabled": True}),
    ):
        with pytest.raises(Conflict, match="last administrator"):
            await attempt
    second, _ = await add(directory, "second", "admin")
    outcomes = await asyncio.gather(
        *(directory.users.edit(OPERATOR, one.id, {"role": "staff"}) for one in (first, second)),
        return_exceptions=True,
    )
    assert sorted(isinstance(outcome, Conflict) for outcome in outcomes) == [False, True]


async def test_a_group_is_not_disabled_with_stronger_users_or_the_last_administrator(
    directory: Directory, callers: Callers
) -> None:
    await directory.roles.create(OPERATOR, "desk", 1, ["infer", "self", "groups", "users"])
    boss, _ = await add(directory, "boss", "admin")
    _, text = await add(directory, "eve", "desk")
    caller = await find(callers, text)
    assert caller is not None
    place = await directory.groups.get(boss.group_id)
    switches = (
        (directory.groups.edit, place.id),
        (directory.organisations.edit, place.organisation_id),
    )
    for edit, one in switches:
        with pytest.raises(Forbidden, match="permissions that you do not have"):
            await edit(acting(caller), one, {"disabled": True})
        with pytest.raises(Conflict, match="last administrator"):
            await edit(OPERATOR, one, {"disabled": True})
    elsewhere = await directory.organisations.create(OPERATOR, "elsewhere")
    closed = await directory.groups.create(OPERATOR, "closed", elsewhere.id, 1)
    await directory.groups.edit(acting(caller), closed.id, {"disabled": True})
    with pytest.raises(Conflict, match="last administrator"):
        await directory.users.edit(OPERATOR, boss.id, {"group_id": closed.id})
    await directory.groups.edit(OPERATOR, closed.id, {"disabled": False})
    await directory.users.create(OPERATOR, NewUser("second", "admin", closed.id))
    for edit, one in switches:
        await edit(OPERATOR, one, {"disabled": True})
    with pytest.raises(Conflict, match="last administrator"):
        await directory.groups.edit(OPERATOR, closed.id, {"disabled": True})


async def test_roles_are_edited_and_deleted_when_unused(
    directory: Directory, callers: Callers
) -> None:
    edited = await directory.roles.edit(OPERATOR, "student", {"weight": 5})
    assert edited.weight == 5
    _, text = await add(directory, "ada")
    caller = await find(callers, text)
    assert caller is not None
    assert caller.role.weight == 5
    await directory.roles.create(OPERATOR, "guest", 1, ["infer"])
    await directory.roles.delete(OPERATOR, "guest")
    await directory.roles.create(OPERATOR, "guest", 1, ["infer"])
    await add(directory, "eve", "guest")
    refusals: list[tuple[object, type[GatewayError]]] = [
        (directory.roles.delete(OPERATOR, "guest"), Conflict),
        (directory.roles.delete(OPERATOR, "student"), Conflict),
        (directory.roles.edit(OPERATOR, "admin", {"permissions": ["infer"]}), Conflict),
        (directory.roles.edit(OPERATOR, "student", {"permissions": ["root"]}), InvalidRequest),
        (directory.roles.create(OPERATOR, "other", 1, ["public"]), InvalidRequest),
        (directory.roles.edit(OPERATOR, "absent", {}), NotFound),
    ]
    for attempt, kind in refusals:
        with pytest.raises(kind):
            await attempt  # type: ignore[misc]


async def test_pages_have_every_user_once(directory: Directory) -> None:
    names = {f"user{number}" for number in range(7)}
    for name in sorted(names):
        await directory.users.create(OPERATOR, NewUser(name))
    seen: list[str] = []
    after = ""
    while rows := await directory.users.page(Range(3, after)):
        seen += [row.name for row in rows]
        after = rows[-1].id
    assert sorted(seen) == sorted(names)
    assert [row.name for row in await directory.users.page(Range(9), name="user3")] == ["user3"]


async def test_a_password_is_changed_by_who_knows_it(on_sqlite: Directory) -> None:
    user, _ = await add(on_sqlite, "ada")
    actor = acting(Caller(user.id, user.name, USER))
    with pytest.raises(Forbidden, match="no password"):
        await on_sqlite.users.change_password(actor, "", "another password")
    first = await on_sqlite.users.reset_password(OPERATOR, user.id)
    with pytest.raises(Forbidden, match="not correct"):
        await on_sqlite.users.change_password(actor, "wrong", "another password")
    for weak in ("short", "a" * 20, "a" * 300):
        with pytest.raises(InvalidRequest):
            await on_sqlite.users.change_password(actor, first, weak)
    await on_sqlite.users.change_password(actor, first, "another password")
    await on_sqlite.users.change_password(actor, "another password", "a third password")


async def test_guesses_at_the_same_time_count_before_they_are_hashed(
    on_sqlite: Directory,
) -> None:
    user, _ = await add(on_sqlite, "guessed")
    actor = acting(Caller(user.id, user.name, USER))
    password = await on_sqlite.users.reset_password(OPERATOR, user.id)
    for _ in range(6):  # successes are not counted
        await on_sqlite.users.change_password(actor, password, password)

    async def guess(number: int) -> type[BaseException]:
        with pytest.raises((Forbidden, RateLimited)) as caught:
            await on_sqlite.users.change_password(actor, f"wrong {number}", "another password")
        return caught.type

    outcomes = await asyncio.gather(*(guess(number) for number in range(30)))
    assert outcomes.count(Forbidden) == 5
    with pytest.raises(RateLimited, match="too many wrong passwords; wait and try again") as caught:
        await on_sqlite.users.change_password(actor, password, "another password")
    assert 0 < caught.value.retry_after_s <= 30


async def test_hashes_of_one_caller_and_of_all_are_bounded() -> None:
    passwords = Passwords()
    count = await asyncio.gather(
        *(passwords.hash("a password", "one") for _ in range(20)),
        *(passwords.hash("a password", f"{number}") for number in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, RateLimited) for one in count) == 4
    assert sum(isinstance(one, Overloaded) for one in count) == 4


async def test_a_hash_is_of_the_second_choice_of_rfc_9106(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.accounts.passwords.PasswordHasher", PasswordHasher)
    hashed = await Passwords().hash("a password", "one")
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_changes_are_recorded(directory: Directory) -> None:
    user, _ = await add(directory, "ada")
    await directory.users.reset_password(OPERATOR, user.id)
    await directory.users.delete(OPERATOR, user.id)
    events = await directory.events.page(Range(10), target_id=user.id)
    actions = ["users.create", "users.reset_password", "users.delete"]
    assert [event.action for event in events] == actions
    assert events[0].details == {"name": "ada", "role": "student"}
    assert {event.actor_id for event in events} == {"operator"}
