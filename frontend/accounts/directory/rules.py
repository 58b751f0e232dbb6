"""Checks that all changes share: names, rights, and existence. Pure, except for look-ups."""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

from frontend.accounts.directory.actor import Actor
from frontend.accounts.limits import Scope
from frontend.accounts.roles import ADMIN
from frontend.domain.accounts import StoredRole, User
from frontend.domain.identity import ANONYMOUS, UNLIMITED, Permission
from frontend.errors import Conflict, Forbidden, InvalidRequest, NotFound
from frontend.store import accounts as store
from frontend.store import allowances
from frontend.store.records import Range, Rows

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
MAX_TEXT = 200
_MOST_QUOTAS = 1000
_RESERVED = frozenset((ANONYMOUS.name, "operator"))


def check_name(name: str) -> None:
    """Raises InvalidRequest for a name that is not allowed."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"'name' is {name[:64]!r}; it must be 1 to 64 letters, digits or any of . _ @ -, and"
            " begin with a letter or digit",
            param="name",
        )
    if name in _RESERVED:
        raise InvalidRequest(f"the name '{name}' is reserved; choose another one", param="name")


def check_revision(what: str, seen: str | None, revision: str) -> None:
    """Raises Conflict if an object was changed since its editor read it. None: it does not say."""
    if seen is not None and seen != revision:
        raise Conflict(
            f"{what} was changed since you read it: its revision is '{revision}', not"
            f" '{seen[:40]}'; read it again",
            param="revision",
            code="revision_changed",
        )


def check_email(email: str) -> None:
    """Raises InvalidRequest for what is not an address."""
    if len(email) > MAX_TEXT or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise InvalidRequest(
            f"'email' is {email[:80]!r}; it must be an address such as 'ada@example.org'",
            param="email",
        )


def check_text(field: str, text: str, most: int = MAX_TEXT) -> None:
    """Raises InvalidRequest for a text that is too long, or has more than one line."""
    if len(text) > most or not text.isprintable():
        raise InvalidRequest(
            f"'{field}' must be one line of at most {most} printable characters", param=field
        )


def check_choice(field: str, text: str | None, known: Iterable[str]) -> None:
    """Raises InvalidRequest for a text that is not one of these. None: it is not given."""
    if text is not None and text not in [*known]:
        must_be = f"it must be one of {', '.join(known)}"
        raise InvalidRequest(f"'{field}' is {text[:40]!r}; {must_be}", param=field)


def exists(value: T | None, noun: str, value_id: str, param: str | None = None) -> T:
    """Returns the value. If it is None, raises NotFound, or InvalidRequest if a field names it."""
    if value is not None:
        return value
    words = noun.replace("_", " ")
    if param is None:
        raise NotFound(f"there is no {words} '{value_id[:64]}'", code=f"{noun}_not_found")
    raise InvalidRequest(f"'{param}': there is no {words} '{value_id[:64]}'", param=param)


def permissions_of(names: Iterable[str]) -> frozenset[Permission]:
    """Permissions by their names; those of other releases are left out."""
    known = {permission.value: permission for permission in Permission}
    return frozenset(known[name] for name in names if name in known)


async def check_grants(
    connection: Rows, actor: Actor, role: str, param: str | None = None
) -> StoredRole:
    """The role; raises Forbidden where it has rights that the actor does not have.

    So nobody makes an account that is stronger than their own, or takes over one.
    """
    stored = exists(await store.ROLES.find(connection, role), "role", role, param)
    if missing := permissions_of(stored.permissions) - actor.permissions - {Permission.PUBLIC}:
        names = ", ".join(sorted(one.value for one in missing))
        raise Forbidden(f"the role '{role}' has permissions that you do not have: {names}")
    return stored


async def find_user(connection: Rows, actor: Actor, user_id: str, param: str | None = None) -> User:
    """A user that the actor may change. Raises NotFound, or InvalidRequest if a field `param` named
    the user, if the id does not exist; Forbidden if the user has more rights than the actor."""
    user = exists(await store.USERS.find(connection, user_id, locked=True), "user", user_id, param)
    # an account never has more rights than the key that it is used with
    if user.id != actor.id:
        await check_grants(connection, actor, user.role)
    return user


async def check_quotas(rows: Rows, actor: Actor, now_us: int) -> None:
    """Raises Forbidden for a key with a quota: what another key uses would not count in it."""
    if not actor.key:
        return
    found = await allowances.QUOTAS.page(
        rows, Range(_MOST_QUOTAS), scope_kind=Scope.KEY, scope_id=actor.key
    )
    if any(one.expires_at_us is None or one.expires_at_us > now_us for one in found):
        raise Forbidden(
            "a key that has its own quota cannot create or rotate other keys, or set passwords;"
            " use another key, or sign in"
        )


async def check_may_set_passwords(rows: Rows, actor: Actor, now_us: int) -> None:
    """Raises Forbidden for a key with limits: a sign-in with a password would not have them."""
    if actor.scope is not UNLIMITED or actor.expires_at_us is not None:
        raise Forbidden(
            "a key that has a scope or an expiry time cannot set passwords; use another key, or"
            " sign in"
        )
    await check_quotas(rows, actor, now_us)


@asynccontextmanager
async def keeping_an_admin(rows: Rows) -> AsyncIterator[None]:
    """Raises Conflict at the end of the block if no administrator with access is left."""
    before = await store.roles_with_access(rows, role=ADMIN.name)
    yield
    if before and not await store.roles_with_access(rows, role=ADMIN.name):
        raise Conflict(
            "the last administrator would lose access; create another administrator first"
        )
