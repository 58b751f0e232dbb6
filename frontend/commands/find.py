"""Finds objects by name or id. If one does not exist, the error suggests the closest name: commands
have all rights, so they may show all names."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from frontend.commands.parser import near
from frontend.domain.accounts import Group, Key, Organisation, StoredRole, User
from frontend.domain.allowances import StoredPlan
from frontend.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory

T = TypeVar("T")
_ALL = 1000
"""Rows of one read; a list is read to its end."""


async def read_all(page: Callable[..., Awaitable[list[Any]]], **filters: str) -> list[Any]:
    """Every row of a list. The rows have an `id`, or a `name` for one."""
    from frontend.store.records import Range

    rows: list[Any] = []
    while True:
        # roles do not have ids
        last = getattr(rows[-1], "id", None) or rows[-1].name if rows else ""
        more = await page(Range(_ALL, last), **filters)
        rows += more
        if len(more) < _ALL:
            return rows


async def find_user(directory: "Directory", text: str) -> User:
    """A user by name or id. Raises NotFound if there is none."""
    from frontend.store.records import Range

    # with thousands of users, only a name that does not exist reads all of them
    if text.isprintable() and (named := await directory.users.page(Range(1), name=text)):
        return named[0]
    users = directory.users
    return await _by_id(users.page, users.get, text)


async def find_group(directory: "Directory", text: str) -> Group:
    """A group by id, or by a name that only one group has. Raises NotFound if there is none, and
    InvalidRequest if several have the name."""
    groups = directory.groups
    named = [one for one in await read_all(groups.page) if one.name == text]
    if len(named) > 1:
        ids = ", ".join(one.id for one in named)
        raise InvalidRequest(f"several groups have the name '{text}'; give the id: {ids}")
    return named[0] if named else await _by_id(groups.page, groups.get, text)


async def find_organisation(directory: "Directory", text: str) -> Organisation:
    """An organisation by name or id. Raises NotFound if there is none."""
    return await _by_name(directory.organisations.page, directory.organisations.get, text)


async def find_plan(directory: "Directory", text: str) -> StoredPlan:
    """A plan by name or id. Raises NotFound if there is none."""
    return await _by_name(directory.plans.page, directory.plans.get, text)


async def find_role(directory: "Directory", text: str) -> StoredRole:
    """A role by name. Raises NotFound if there is none."""
    roles = directory.roles
    return await _by_id(roles.page, roles.get, text)


async def find_key(directory: "Directory", text: str) -> Key:
    """A key by its public id, or its whole text. Raises NotFound, without a secret in it."""
    parts = text.split("-")
    return await directory.keys.get(parts[1] if parts[0] == "tt" and len(parts) > 1 else text)


async def _by_name(
    page: Callable[..., Awaitable[list[T]]], get: Callable[[str], Awaitable[T]], text: str
) -> T:
    everything: list[Any] = await read_all(page)
    named: list[T] = [one for one in everything if one.name == text]
    return named[0] if named else await _by_id(page, get, text)


async def _by_id(
    page: Callable[..., Awaitable[list[T]]], get: Callable[[str], Awaitable[T]], text: str
) -> T:
    try:
        return await get(text)
    except NotFound as error:
        hint = near(text, [one.name for one in await read_all(page)])
        raise NotFound(f"{error.message}; {hint}" if hint else error.message) from None
