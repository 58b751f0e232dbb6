"""Registered upstreams: their rows, and the numbers of requests that run at drained ones."""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.domain.upstreams import Backend
from frontend.store.records import Records
from frontend.store.tables import backend_runs, backends

BACKENDS = Records(backends, Backend, "backend")


async def report(
    connection: AsyncConnection, gateway_id: str, running: Mapping[str, int], now_us: int
) -> None:
    """Stores how many requests of a gateway run at each backend."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    for backend_id, number in running.items():
        row = {"backend_id": backend_id, "gateway_id": gateway_id}
        values = {"running": number, "at_us": now_us}
        statement = insert(backend_runs).values(**row, **values)
        keys = ["backend_id", "gateway_id"]
        await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))


async def count_running(connection: AsyncConnection, backend_id: str, since_us: int) -> int:
    """Requests that run at a backend, by the reports since a moment."""
    columns = backend_runs.c
    query = select(func.coalesce(func.sum(columns.running), 0)).where(
        columns.backend_id == backend_id, columns.at_us >= since_us
    )
    return int((await connection.execute(query)).scalar_one())


async def forget_running(connection: AsyncConnection, backend_id: str) -> None:
    """Removes the reports of a backend."""
    await connection.execute(backend_runs.delete().where(backend_runs.c.backend_id == backend_id))
