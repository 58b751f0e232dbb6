"""What a subscription's plan gave in this period, which later edits of the plan do not change."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

_NOW = """
UPDATE subscriptions SET period_credits_micro =
    (SELECT credits_micro FROM plans WHERE plans.id = subscriptions.plan_id)
"""


def upgrade() -> None:
    """Takes one step forward."""
    op.add_column(
        "subscriptions", sa.Column("period_credits_micro", sa.BigInteger(), nullable=True)
    )
    op.execute(_NOW)


def downgrade() -> None:
    """Takes the step back."""
    op.drop_column("subscriptions", "period_credits_micro")
