"""Organisations, groups, users, roles, keys and requests for keys: their rows, and the queries that
join them. Rules are in `accounts.directory`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, literal, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.domain.accounts import (
    AdminEvent,
    Group,
    Key,
    KeyRequest,
    Organisation,
    StoredRole,
    User,
)
from frontend.store import tables
from frontend.store.records import Records
from frontend.store.tables.columns import AsciiLower

ORGANISATIONS = Records(tables.organisations, Organisation, "organisation")
GROUPS = Records(tables.groups, Group, "group")
USERS = Records(tables.users, User, "user", ("name", "display_name", "email"))
KEYS = Records(tables.keys, Key, "key")
ROLES = Records(tables.roles, StoredRole, "role")
KEY_REQUESTS = Records(tables.key_requests, KeyRequest, "request", ("name", "email"))
EVENTS = Records(tables.admin_events, AdminEvent, "event", ("actor_name", "action"))
_TOPIC = "accounts"


@dataclass(frozen=True, slots=True)
class Owned:
    """A key with its digests and all that it depends on. `enabled`: none of it is disabled."""

    digest: bytes
    previous_digest: bytes | None
    previous_ends_at_us: int | None
    expires_at_us: int | None
    enabled: bool
    models: list[str] | None
    endpoints: list[str] | None
    networks: list[str] | None
    user_id: str
    user_name: str
    group_id: str
    organisation_id: str
    role: str
    weight: int
    permissions: list[str]
    audit: str | None
    audit_strict: bool | None
    group_weight: int = 1
    upstreams: dict[str, list[str]] | None = None
    earlier_digests: list[tuple[str, int]] | None = None
    """What was replaced before `previous_digest`: in hexadecimal, and until when it works."""


async def user_of_email(connection: AsyncConnection, email: str) -> str | None:
    """The id of the user with this address. The case of ASCII letters does not count, as mail
    providers treat it."""
    users = tables.users.c
    same = AsciiLower(users.email) == AsciiLower(literal(email))
    found = await connection.execute(select(users.id).where(same, users.deleted_at_us.is_(None)))
    return next((str(row[0]) for row in found), None)


_k, _u, _g, _o, _r = tables.keys, tables.users, tables.groups, tables.organisations, tables.roles
_ALIVE = [table.c.deleted_at_us.is_(None) for table in (_k, _u, _g, _o)]
# their coalesce is null only where none of the four is disabled
_ENABLED = [table.c.disabled_at_us for table in (_k, _u, _g, _o)]
_OWNED = (
    select(
        _k.c.digest, _k.c.previous_digest, _k.c.previous_ends_at_us, _k.c.expires_at_us,
        func.coalesce(*_ENABLED).is_(None), _k.c.models, _k.c.endpoints, _k.c.networks,
        _u.c.id, _u.c.name, _g.c.id, _o.c.id, _r.c.name, _r.c.weight, _r.c.permissions,
        _g.c.audit, _g.c.audit_strict,
        _g.c.weight, _g.c.upstreams, _k.c.earlier_digests,
    )
    .join(_u, _u.c.id == _k.c.user_id)
    .join(_g, _g.c.id == _u.c.group_id)
    .join(_o, _o.c.id == _g.c.organisation_id)
    .join(_r, _r.c.name == _u.c.role)
    .where(_k.c.id == bindparam("key_id"), *_ALIVE)
)  # fmt: skip


async def find_owned(connection: AsyncConnection, key_id: str) -> Owned | None:
    """The key with this public id, if it and its owner exist. Takes only the id: no other part of
    what a client sent gets near SQL."""
    row = (await connection.execute(_OWNED, {"key_id": key_id})).one_or_none()
    return None if row is None else Owned(*row)


async def roles_with_access(connection: AsyncConnection, **of: str) -> set[str]:
    """The roles of all users who are not disabled, nor their group or organisation. `of`:
    `role`, `group_id` or `organisation_id`, of these users alone."""
    columns = {"role": _u.c.role, "group_id": _g.c.id, "organisation_id": _o.c.id}
    query = (
        select(_u.c.role)
        .distinct()
        .join(_g, _g.c.id == _u.c.group_id)
        .join(_o, _o.c.id == _g.c.organisation_id)
        .where(
            func.coalesce(*_ENABLED[1:]).is_(None),
            *_ALIVE[1:],
            *(columns[name] == value for name, value in of.items()),
        )
    )
    return {str(row[0]) for row in await connection.execute(query)}


# made once: every process asks twice a second
_NUMBER = select(tables.changes.c.number).where(tables.changes.c.topic == _TOPIC)


async def change_number(connection: AsyncConnection) -> int:
    """How many changes of accounts there were; a process that sees a new number reads again."""
    return (await connection.execute(_NUMBER)).scalar_one_or_none() or 0


async def count_change(connection: AsyncConnection) -> None:
    """Makes every process read accounts again. Changes of accounts take turns by this row."""
    table = tables.changes
    # SQLAlchemy has upserts only in its dialects
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    first = insert(table).values(topic=_TOPIC, number=1)
    more = {"number": table.c.number + 1}
    await connection.execute(first.on_conflict_do_update(index_elements=["topic"], set_=more))


async def note_use(connection: AsyncConnection, used_at_us: Mapping[str, int]) -> None:
    """Stores when keys were last used."""
    table = tables.keys
    query = (
        table.update()
        .where(
            table.c.id == bindparam("key_id"),
            # another gateway may have stored a later use
            or_(table.c.last_used_at_us.is_(None), table.c.last_used_at_us < bindparam("at")),
        )
        .values(last_used_at_us=bindparam("at"))
    )
    await connection.execute(query, [{"key_id": key, "at": at} for key, at in used_at_us.items()])


async def key_existed(connection: AsyncConnection, key_id: str) -> bool:
    """Whether there is or was a key with this public id."""
    query = select(_k.c.id).where(_k.c.id == key_id)
    return (await connection.execute(query)).first() is not None


async def digest_of_key(connection: AsyncConnection, key_id: str) -> bytes:
    """The digest of a key that exists."""
    query = select(tables.keys.c.digest).where(tables.keys.c.id == key_id)
    digest: bytes = (await connection.execute(query)).scalar_one()
    return digest


async def replaced_digests(
    connection: AsyncConnection, key_id: str, now_us: int
) -> list[tuple[str, int]]:
    """The texts of a key that were replaced and still work, the last one first: their digests in
    hexadecimal, and until when."""
    query = select(_k.c.previous_digest, _k.c.previous_ends_at_us, _k.c.earlier_digests)
    previous, ends_us, earlier = (await connection.execute(query.where(_k.c.id == key_id))).one()
    last = [] if previous is None else [(previous.hex(), ends_us)]
    return [
        (digest, until_us) for digest, until_us in [*last, *(earlier or [])] if until_us > now_us
    ]


async def digest_of_request(connection: AsyncConnection, request_id: str) -> bytes:
    """The digest of the key that a request waits for."""
    table = tables.key_requests
    query = select(table.c.claim_digest).where(table.c.id == request_id)
    digest: bytes = (await connection.execute(query)).scalar_one()
    return digest


async def password_of(connection: AsyncConnection, user_id: str) -> str | None:
    """The stored hash of a user's password."""
    query = select(tables.users.c.password).where(tables.users.c.id == user_id)
    password: str | None = (await connection.execute(query)).scalar_one()
    return password


async def count_pending(connection: AsyncConnection, now_us: int, address: str = "") -> int:
    """Requests for keys that wait for a decision: of one address, or all."""
    table = tables.key_requests
    query = select(func.count()).where(table.c.status == "pending", table.c.expires_at_us > now_us)
    if address:
        query = query.where(table.c.address == address)
    return (await connection.execute(query)).scalar_one()


async def drop_old_requests(connection: AsyncConnection, before_us: int) -> None:
    """Deletes requests for keys that expired without a decision."""
    table = tables.key_requests
    old = table.delete().where(table.c.status == "pending", table.c.expires_at_us < before_us)
    await connection.execute(old)


async def seed_roles(
    connection: AsyncConnection, rows: Iterable[dict[str, Any]], complete: str
) -> None:
    """Adds the roles that are missing. The role `complete` has every permission of a release."""
    query = select(_r.c.name, _r.c.permissions)
    present = {row[0]: row[1] for row in await connection.execute(query)}
    for row in rows:
        if row["name"] not in present:
            await connection.execute(_r.insert().values(row))
        elif row["name"] == complete and present[complete] != row["permissions"]:
            change = _r.update().where(_r.c.name == complete)
            await connection.execute(change.values(permissions=row["permissions"]))


async def delete_role(connection: AsyncConnection, name: str) -> bool:
    """Deletes a role that was never given to a user; False for any other."""
    used = select(_u.c.id).where(_u.c.role == name).limit(1)
    if (await connection.execute(used)).first() is not None:
        return False
    await connection.execute(_r.delete().where(_r.c.name == name))
    return True
