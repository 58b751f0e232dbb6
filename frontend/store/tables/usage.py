"""What was used: one row for each request, and their sums by hours in UTC.

Neither refers to other tables, so that deleting a user or a key keeps its usage.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text

from frontend.store.tables.columns import count, identifier, instant, metadata, text

_OWNERS = ("organisation_id", "group_id", "user_id", "key_id")
_SUMS = (
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
    *(text(name) for name in _OWNERS),
    text("model"),
    text("dialect"),
    text("endpoint"),
    text("upstream"),
    Column("status", Integer, nullable=False),  # as HTTP sends it; 499: the client went away
    Column("estimated", Boolean, nullable=False),  # the engine did not report its counts
    *(count(name) for name in _SUMS),
    instant("started_at_us"),
    Index("ix_usage_user_id_started_at_us", "user_id", "started_at_us"),
    Index("ix_usage_started_at_us", "started_at_us"),
)

usage_hourly = Table(
    "usage_hourly",
    metadata,
    Column("hour_at_us", BigInteger, primary_key=True),
    *(Column(name, Text, primary_key=True) for name in (*_OWNERS, "model")),
    count("requests"),
    count("failures"),
    *(count(name) for name in _SUMS),
    Index("ix_usage_hourly_user_id_hour_at_us", "user_id", "hour_at_us"),
)
