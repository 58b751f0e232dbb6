"""Upstreams that were registered, and what still runs at those that are drained."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Table, Text
from sqlalchemy import text as sql

from frontend.store.tables.columns import (
    count,
    identifier,
    instant,
    metadata,
    optional_instant,
    text,
)

_EXISTS = sql("deleted_at_us IS NULL")

backends = Table(
    "backends",
    metadata,
    identifier(),
    text("name"),
    text("url"),
    text("engine"),
    Column("max_concurrent", BigInteger),
    Column("max_num_seqs", BigInteger),
    Column("gpu_memory_mib", BigInteger),
    Column("priority", BigInteger, nullable=False),
    Column("external", Boolean, nullable=False),
    Column("groups", JSON, nullable=False),
    Column("labels", JSON(none_as_null=True)),  # null: registered with an older release
    Column("models", JSON, nullable=False),
    Column("api_key_env", Text),  # where the key is; the key itself is not stored
    Column("api_key_file", Text),
    Column("enabled", Boolean, nullable=False),
    optional_instant("draining_at_us"),
    instant("refreshed_at_us"),
    instant("created_at_us"),
    optional_instant("deleted_at_us"),
    Index("uq_backends_name", "name", unique=True, sqlite_where=_EXISTS, postgresql_where=_EXISTS),
)

backend_runs = Table(
    "backend_runs",
    metadata,
    Column("backend_id", Text, primary_key=True),
    Column("gateway_id", Text, primary_key=True),
    count("running"),
    instant("at_us"),
)
