"""Which user an identity of a sign-in provider belongs to."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.store.tables import identities


async def find_identity(connection: AsyncConnection, issuer: str, subject: str) -> str | None:
    """The id of its user, also of one who was deleted."""
    mine = (identities.c.issuer == issuer) & (identities.c.subject == subject)
    return (await connection.execute(select(identities.c.user_id).where(mine))).scalar_one_or_none()


async def add_identity(
    connection: AsyncConnection, identity: tuple[str, str], user_id: str, now_us: int
) -> None:
    """Links an issuer and a subject to a user."""
    issuer, subject = identity
    row = {"issuer": issuer, "subject": subject, "user_id": user_id, "created_at_us": now_us}
    await connection.execute(identities.insert().values(row))
