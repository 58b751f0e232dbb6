"""Which models share the requests for a name, and what each gateway saw of them."""

from sqlalchemy import JSON, BigInteger, Column, Index, Table, Text
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

canaries = Table(
    "canaries",
    metadata,
    identifier(),
    text("name"),
    Column("targets", JSON, nullable=False),
    text("sticky"),
    Column("max_error_percent", BigInteger, nullable=False),
    Column("min_requests", BigInteger, nullable=False),
    instant("created_at_us"),
    instant("updated_at_us"),
    optional_instant("deleted_at_us"),
    Index("uq_canaries_name", "name", unique=True, sqlite_where=_EXISTS, postgresql_where=_EXISTS),
)

canary_results = Table(
    "canary_results",
    metadata,
    Column("gateway_id", Text, primary_key=True),
    Column("canary_id", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    instant("revision_us"),  # when the canary was changed that they belong to
    count("requests"),
    count("errors"),
    count("answers"),  # with a first token
    count("first_token_us"),  # of all of them
    instant("at_us"),
)
