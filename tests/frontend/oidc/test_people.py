"""Whose account an identity is: linked as the setting says, and never by an address alone."""

from typing import Any

import pytest

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.users import NewUser
from frontend.domain.accounts import User
from frontend.errors import Forbidden
from frontend.oidc.people import Link, People, Place, Rules
from frontend.store.database import Database
from tests.support.accounts import add, opened

ISSUER = "https://login.example"
MAIL = "ada@example.org"


def claims(sub: str = "s1", **more: Any) -> dict[str, Any]:
    return {"sub": sub, "preferred_username": "ada", "email": MAIL, **more}


class Office:
    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    async def resolve(
        self, given: dict[str, Any], signed_in: str = "", issuer: str = ISSUER, **rules: Any
    ) -> User:
        known: dict[str, Any] = {"create": False, "link": Link.NEVER, "places": {}}
        people = People(self.directory.users, Rules(**known | rules))
        return await people.resolve(issuer, given, signed_in)

    async def refuses(self, *arguments: Any, match: str, **rules: Any) -> None:
        with pytest.raises(Forbidden, match=match):
            await self.resolve(*arguments, **rules)


@pytest.fixture
async def office(database: Database) -> Office:
    return Office(await opened(database))


async def test_people_without_an_account_are_refused_or_get_one(office: Office) -> None:
    await office.refuses(claims(), match="no account")
    made = await office.resolve(claims(email_verified=True), create=True)
    assert (made.name, made.email, made.role) == ("ada", MAIL, "student")
    # the subject counts: a new name and address change nothing, another issuer is somebody else
    renamed = {"sub": "s1", "preferred_username": "other", "email": "other@example.org"}
    assert (await office.resolve(renamed)).id == made.id
    await office.refuses({"sub": "s1"}, issuer="https://other.example", match="no account")
    again = await office.resolve({"sub": "s2", "preferred_username": "ada"}, create=True)
    assert again.name.startswith("ada-")
    odd = {"sub": "s3", "preferred_username": "<script>" * 99, "email": "no address"}
    assert "<" not in (await office.resolve(odd, create=True)).name


async def test_an_address_alone_does_not_open_an_account(office: Office) -> None:
    ada = await office.directory.users.create(OPERATOR, NewUser("ada", "admin", email=MAIL))
    for link in (Link.NEVER, Link.SIGNED_IN, Link.VERIFIED_EMAIL):
        await office.refuses(claims(), match="exists", link=link, create=True)
    verified = claims(email_verified=True)
    for link in (Link.NEVER, Link.SIGNED_IN):
        await office.refuses(verified, match="exists", link=link, create=True)
    text = claims(email_verified="true")
    await office.refuses(text, match="exists", link=Link.VERIFIED_EMAIL)
    shouted = {**verified, "email": MAIL.upper()}
    await office.refuses(shouted, match="exists", create=True)
    assert (await office.resolve(shouted, link=Link.VERIFIED_EMAIL)).id == ada.id


async def test_who_is_signed_in_links_the_own_account(office: Office) -> None:
    bob, _ = await add(office.directory, "bob")
    linked = await office.resolve(claims(), bob.id, link=Link.SIGNED_IN)
    assert linked.id == bob.id
    assert (await office.resolve(claims())).id == bob.id
    await office.refuses(claims("s9"), bob.id, match="no account", link=Link.NEVER)
    await office.directory.users.edit(OPERATOR, bob.id, {"disabled": True})
    await office.refuses(claims(), match="disabled")
    await office.directory.users.delete(OPERATOR, bob.id)
    await office.refuses(claims(), match="deleted", create=True)


async def test_groups_of_the_provider_give_roles_and_groups(office: Office) -> None:
    organisation = (await office.directory.organisations.create(OPERATOR, "o")).id
    course = await office.directory.groups.create(OPERATOR, "course7", organisation, 1)
    places = {
        "boss": Place("admin"),
        "seven": Place("staff", "course7"),
        "odd": Place("staff", "x"),
    }
    rules: dict[str, Any] = {"create": True, "places": places}
    made = await office.resolve(claims(groups=["seven", "boss"]), **rules)
    assert made.role == "admin"
    await add(office.directory, "root", "admin")
    moved = await office.resolve(claims(groups="seven"), **rules)
    assert (moved.role, moved.group_id) == ("staff", course.id)
    for groups in ([], None, {"boss": 1}, [["boss"]]):
        left = await office.resolve(claims(groups=groups), **rules)
        assert (left.role, left.group_id) == ("student", course.id)
    await office.resolve(claims(groups=["odd"]), **rules)


async def test_the_last_administrator_stays_one(office: Office) -> None:
    rules: dict[str, Any] = {"create": True, "places": {"boss": Place("admin")}}
    await office.resolve(claims(groups=["boss"]), **rules)
    assert (await office.resolve(claims(groups=[]), **rules)).role == "admin"
