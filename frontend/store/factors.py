"""Second factors: the secret of an app, and the recovery codes that are left."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.store.tables import authenticators, recovery_codes

_a, _r = authenticators, recovery_codes


@dataclass(frozen=True, slots=True)
class Factor:
    """A row; the secret is sealed. `confirmed_at_us` of None: it was not confirmed yet."""

    secret: bytes
    confirmed_at_us: int | None
    last_step: int


async def find_factor(connection: AsyncConnection, user_id: str) -> Factor | None:
    """The app of a user."""
    query = select(_a.c.secret, _a.c.confirmed_at_us, _a.c.last_step)
    row = (await connection.execute(query.where(_a.c.user_id == user_id))).one_or_none()
    return None if row is None else Factor(*row)


async def read_secrets(connection: AsyncConnection) -> list[tuple[str, bytes]]:
    """Users and their secrets, as they are stored."""
    rows = await connection.execute(select(_a.c.user_id, _a.c.secret))
    return [(user_id, secret) for user_id, secret in rows]


async def replace_secret(connection: AsyncConnection, user_id: str, old: bytes, new: bytes) -> bool:
    """Stores a secret in another form; False where another process was first."""
    mine = (_a.c.user_id == user_id) & (_a.c.secret == old)
    result = await connection.execute(_a.update().where(mine).values(secret=new))
    return bool(result.rowcount == 1)


async def add_factor(connection: AsyncConnection, user_id: str, secret: bytes, now_us: int) -> None:
    """Stores a secret that is not confirmed."""
    row = {"user_id": user_id, "secret": secret, "created_at_us": now_us}
    await connection.execute(_a.insert().values(row))


async def confirm_factor(
    connection: AsyncConnection, user_id: str, now_us: int, digests: Iterable[bytes]
) -> None:
    """From now on the app is asked for."""
    mine = _a.update().where(_a.c.user_id == user_id)
    await connection.execute(mine.values(confirmed_at_us=now_us))
    rows = [{"user_id": user_id, "digest": digest} for digest in digests]
    await connection.execute(_r.insert(), rows)


async def use_step(connection: AsyncConnection, user_id: str, step: int) -> bool:
    """Uses a code up; False where it, or a later one, was used before."""
    mine = (_a.c.user_id == user_id) & (_a.c.last_step < step)
    result = await connection.execute(_a.update().where(mine).values(last_step=step))
    return bool(result.rowcount == 1)


async def use_recovery_code(connection: AsyncConnection, user_id: str, digest: bytes) -> bool:
    """Uses a recovery code up; False where it is not there."""
    mine = (_r.c.user_id == user_id) & (_r.c.digest == digest)
    return bool((await connection.execute(_r.delete().where(mine))).rowcount == 1)


async def count_recovery_codes(connection: AsyncConnection, user_id: str) -> int:
    """How many are left."""
    query = select(func.count()).select_from(_r).where(_r.c.user_id == user_id)
    return (await connection.execute(query)).scalar_one()


async def drop_factor(connection: AsyncConnection, user_id: str) -> None:
    """Removes the app and its recovery codes."""
    await connection.execute(_r.delete().where(_r.c.user_id == user_id))
    await connection.execute(_a.delete().where(_a.c.user_id == user_id))
