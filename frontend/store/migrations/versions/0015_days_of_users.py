"""Sums of whole days of each user and key by model, for their own reports, and indexes of both."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_VIEW, _DAY_US = 7, 86_400_000_000
_COLUMNS = ("organisation_id", "group_id", "user_id", "key_id", "model")
_SUMS = (
    "requests",
    "failures",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "credits_micro",
    "price_micro",
    "duration_us",
)


def upgrade() -> None:
    """Takes one step forward."""
    day, columns = f"hour_at_us - hour_at_us % {_DAY_US}", ", ".join(_COLUMNS)
    sums = ", ".join(f"sum({one})" for one in _SUMS)
    op.execute(
        f"INSERT INTO usage_rollups (view, at_us, {columns}, shard, {', '.join(_SUMS)})"  # noqa: S608
        f" SELECT {_VIEW}, {day}, {columns}, 0, {sums} FROM usage_hourly GROUP BY {day}, {columns}"
    )
    for name in ("user_id", "key_id"):
        known = sa.text(f"{name} <> ''")
        op.create_index(
            f"ix_usage_rollups_view_{name}_at_us",
            "usage_rollups",
            ["view", name, "at_us"],
            sqlite_where=known,
            postgresql_where=known,
        )


def downgrade() -> None:
    """Takes the step back."""
    for name in ("user_id", "key_id"):
        op.drop_index(f"ix_usage_rollups_view_{name}_at_us", "usage_rollups")
    op.execute(f"DELETE FROM usage_rollups WHERE view = {_VIEW}")  # noqa: S608
