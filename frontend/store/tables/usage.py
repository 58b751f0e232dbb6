"""What was used: one row for each request, their sums by hours in UTC, and coarser sums.

None of them refers to other tables, so that deleting a user or a key keeps its usage.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text
from sqlalchemy import text as sql

from frontend.store.tables.columns import count, identifier, instant, metadata, text

OWNERS = ("organisation_id", "group_id", "user_id", "key_id")
COUNTS = (
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "credits_micro",
    "price_micro",
    "duration_us",
)

usage = Table(
    "usage",
    metadata,
    identifier(),
    Column("request_id", Text, nullable=False, unique=True),
    *(text(name) for name in OWNERS),
    text("model"),
    text("dialect"),
    text("endpoint"),
    text("upstream"),
    Column("status", Integer, nullable=False),  # as HTTP sends it; 499: the client went away
    Column("estimated", Boolean, nullable=False),  # the engine did not report its counts
    *(count(name) for name in COUNTS),
    instant("started_at_us"),
    Index("ix_usage_user_id_started_at_us", "user_id", "started_at_us"),
    Index("ix_usage_started_at_us", "started_at_us"),
)

usage_hourly = Table(
    "usage_hourly",
    metadata,
    Column("hour_at_us", BigInteger, primary_key=True),
    *(Column(name, Text, primary_key=True) for name in (*OWNERS, "model")),
    count("requests"),
    count("failures"),
    *(count(name) for name in COUNTS),
    Index("ix_usage_hourly_user_id_hour_at_us", "user_id", "hour_at_us"),
    Index("ix_usage_hourly_key_id_hour_at_us", "key_id", "hour_at_us"),
)

# of each view of `store.rollups`: the columns that it leaves out are ''
_OF = {name: sql(f"{name} <> ''") for name in ("group_id", "user_id", "key_id")}
usage_rollups = Table(
    "usage_rollups",
    metadata,
    Column("view", Integer, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, Text, primary_key=True) for name in (*OWNERS, "model")),
    # of the gateway that wrote it: two of them never wait for the lock of one row
    Column("shard", Integer, primary_key=True, autoincrement=False),
    count("requests"),
    count("failures"),
    *(count(name) for name in COUNTS),
    *(
        Index(
            f"ix_usage_rollups_view_{name}_at_us",
            *("view", name, "at_us"),
            sqlite_where=where,
            postgresql_where=where,
        )
        for name, where in _OF.items()
    ),
    sqlite_with_rowid=False,  # ranges of time lie together
)
