"""Sessions of browsers: a row for each, found by the digest of its token.

The token itself is only in the browser's cookie. Rules are in `accounts.sessions`.
"""

from dataclasses import dataclass

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.store import tables
from frontend.store.accounts import Owned

_s, _u, _g, _o, _r = (
    tables.sessions, tables.users, tables.groups, tables.organisations, tables.roles,
)  # fmt: skip
_ENABLED = [table.c.disabled_at_us for table in (_u, _g, _o)]
_PERSON = (
    select(
        func.coalesce(*_ENABLED).is_(None), _u.c.id, _u.c.name, _g.c.id, _o.c.id,
        _r.c.name, _r.c.weight, _r.c.permissions, _g.c.audit, _g.c.audit_strict, _g.c.weight,
        _g.c.upstreams,
    )
    .join(_g, _g.c.id == _u.c.group_id)
    .join(_o, _o.c.id == _g.c.organisation_id)
    .join(_r, _r.c.name == _u.c.role)
    .where(*[table.c.deleted_at_us.is_(None) for table in (_u, _g, _o)])
)  # fmt: skip
_FIELDS = (
    "enabled", "user_id", "user_name", "group_id", "organisation_id",
    "role", "weight", "permissions", "audit", "audit_strict", "group_weight",
    "upstreams",
)  # fmt: skip
MAX_OF_USER = 200
"""Sessions of one user, and as many steps towards one."""
_BY_ID = _PERSON.where(_u.c.id == bindparam("user_id"))


@dataclass(frozen=True, slots=True)
class Session:
    """A row."""

    user_id: str
    seen_at_us: int
    expires_at_us: int
    stage: str = ""
    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A row, as its user sees it."""

    digest: bytes
    created_at_us: int
    seen_at_us: int
    expires_at_us: int
    address: str
    agent: str


async def list_sessions(
    connection: AsyncConnection, user_id: str, now_us: int
) -> list[ListedSession]:
    """The whole sessions of a user that have not expired, the last used first."""
    names = "digest", "created_at_us", "seen_at_us", "expires_at_us", "address", "agent"
    query = (
        select(*[_s.c[name] for name in names])
        .where(_s.c.user_id == user_id, _s.c.stage == "", _s.c.expires_at_us > now_us)
        .order_by(_s.c.seen_at_us.desc(), _s.c.digest)
    )
    return [ListedSession(*row) for row in await connection.execute(query)]


async def find_session(connection: AsyncConnection, digest: bytes) -> Session | None:
    """The session of a token with this digest."""
    columns = _s.c.user_id, _s.c.seen_at_us, _s.c.expires_at_us, _s.c.stage
    query = select(*columns).where(_s.c.digest == digest)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Session(*row)


async def find_person(connection: AsyncConnection, user_id: str) -> Owned | None:
    """A user with all that requests of theirs depend on, in the form of a key without limits."""
    row = (await connection.execute(_BY_ID, {"user_id": user_id})).one_or_none()
    if row is None:
        return None
    values = dict(zip(_FIELDS, row, strict=True))
    return Owned(
        digest=b"",
        previous_digest=None,
        previous_ends_at_us=None,
        expires_at_us=None,
        models=None,
        endpoints=None,
        networks=None,
        **values,
    )


async def find_credentials(connection: AsyncConnection, user_id: str) -> tuple[str | None, bool]:
    """The stored hash of a user's password, and whether another one must be chosen; None without
    a user."""
    query = select(_u.c.password, _u.c.password_once).where(_u.c.id == user_id)
    row = (await connection.execute(query)).one_or_none()
    return (None, False) if row is None else (row[0], row[1])


async def add_session(connection: AsyncConnection, digest: bytes, session: Session) -> None:
    """Stores a session that begins when it was seen. Drops those that have expired, and of its user
    the ones beyond `MAX_OF_USER` that were used longest ago."""
    now_us = session.seen_at_us
    await connection.execute(_s.delete().where(_s.c.expires_at_us <= now_us))
    # steps apart: who knows the password alone must not end the sessions of who has the code
    kind = _s.c.stage != "" if session.stage else _s.c.stage == ""
    newest = _s.c.seen_at_us.desc(), _s.c.digest
    own = select(_s.c.digest).where(_s.c.user_id == session.user_id, kind).order_by(*newest)
    old = own.offset(MAX_OF_USER - 1)
    await connection.execute(_s.delete().where(_s.c.digest.in_(old)))
    row = {"digest": digest, "user_id": session.user_id, "created_at_us": now_us}
    row |= {"seen_at_us": now_us, "expires_at_us": session.expires_at_us}
    row |= {"stage": session.stage, "address": session.address, "agent": session.agent}
    await connection.execute(_s.insert().values(row))


async def see_session(connection: AsyncConnection, digest: bytes, now_us: int) -> None:
    """Stores when a session was last used."""
    await connection.execute(_s.update().where(_s.c.digest == digest).values(seen_at_us=now_us))


async def end_session(connection: AsyncConnection, digest: bytes) -> None:
    """Ends one session."""
    await connection.execute(_s.delete().where(_s.c.digest == digest))


async def end_sessions(connection: AsyncConnection, user_id: str) -> None:
    """Ends every session of a user."""
    await connection.execute(_s.delete().where(_s.c.user_id == user_id))
