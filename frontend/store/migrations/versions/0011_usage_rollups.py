"""Sums of usage for reports over everybody, filled from the rows and hours that there are."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_OWNERS = ("organisation_id", "group_id", "user_id", "key_id")
_COLUMNS = (*_OWNERS, "model")
_COUNTS = (
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "credits_micro",
    "price_micro",
    "duration_us",
)
_SUMS = ("requests", "failures", *_COUNTS)
_QUARTER_US, _DAY_US = 900_000_000, 86_400_000_000
_VIEWS = (
    (1, _QUARTER_US, ("model",)),
    (2, _QUARTER_US, _OWNERS[:2]),
    (3, _QUARTER_US, (*_OWNERS[:2], "model")),
    (4, _DAY_US, ("model",)),
    (5, _DAY_US, _OWNERS[:2]),
    (6, _DAY_US, _OWNERS),
)


def upgrade() -> None:
    """Takes one step forward."""
    op.create_table(
        "usage_rollups",
        sa.Column("view", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False, autoincrement=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _COLUMNS),
        sa.Column("shard", sa.Integer(), nullable=False, autoincrement=False),
        *(sa.Column(name, sa.BigInteger(), server_default="0", nullable=False) for name in _SUMS),
        sa.PrimaryKeyConstraint("view", "at_us", *_COLUMNS, "shard", name=op.f("pk_usage_rollups")),
        sqlite_with_rowid=False,
    )
    for number, step_us, columns in _VIEWS:
        op.execute(_fill(number, step_us, columns))
    of_groups = sa.text("group_id <> ''")
    op.create_index(
        "ix_usage_rollups_view_group_id_at_us",
        "usage_rollups",
        ["view", "group_id", "at_us"],
        sqlite_where=of_groups,
        postgresql_where=of_groups,
    )
    op.create_index("ix_usage_hourly_key_id_hour_at_us", "usage_hourly", ["key_id", "hour_at_us"])


def downgrade() -> None:
    """Takes the step back."""
    op.drop_index("ix_usage_hourly_key_id_hour_at_us", "usage_hourly")
    op.drop_table("usage_rollups")


def _fill(number: int, step_us: int, columns: tuple[str, ...]) -> str:
    """What the sums of days consist of is in the hours, and there are fewer of them than rows."""
    of_hours = step_us == _DAY_US
    table, at = ("usage_hourly", "hour_at_us") if of_hours else ("usage", "started_at_us")
    own = (
        ["requests", "failures"] if of_hours else ["1", "CASE WHEN status >= 400 THEN 1 ELSE 0 END"]
    )
    sums = ", ".join(f"sum({one})" for one in (*own, *_COUNTS))
    shown = ", ".join(name if name in columns else "''" for name in _COLUMNS)
    start = f"{at} - {at} % {step_us}"
    grouped = ", ".join((start, *columns))
    into = ", ".join(("view", "at_us", *_COLUMNS, "shard", *_SUMS))
    chosen = f"{number}, {start}, {shown}, 0, {sums}"
    return (
        f"INSERT INTO usage_rollups ({into})"  # noqa: S608
        f" SELECT {chosen} FROM {table} GROUP BY {grouped}"
    )
