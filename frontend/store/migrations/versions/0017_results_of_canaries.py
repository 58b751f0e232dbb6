"""What each gateway saw of the targets of canaries, so that all of them decide by the sum."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Takes one step forward."""
    op.create_table(
        "canary_results",
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("canary_id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("revision_us", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("errors", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "gateway_id", "canary_id", "target", name=op.f("pk_canary_results")
        ),
    )


def downgrade() -> None:
    """Takes the step back."""
    op.drop_table("canary_results")
