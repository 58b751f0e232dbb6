"""When users saw the decisions on their requests for more; earlier decisions count as seen."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Takes one step forward."""
    op.add_column("quota_requests", sa.Column("answer_seen_at_us", sa.BigInteger(), nullable=True))
    op.execute("UPDATE quota_requests SET answer_seen_at_us = decided_at_us")
    op.create_index("ix_quota_requests_user_id_status", "quota_requests", ["user_id", "status"])


def downgrade() -> None:
    """Takes the step back."""
    op.drop_index("ix_quota_requests_user_id_status", "quota_requests")
    op.drop_column("quota_requests", "answer_seen_at_us")
