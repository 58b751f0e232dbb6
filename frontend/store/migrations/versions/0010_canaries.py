"""Models that share the requests for a name."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Takes one step forward."""
    op.create_table(
        "canaries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("targets", sa.JSON(), nullable=False),
        sa.Column("sticky", sa.Text(), nullable=False),
        sa.Column("max_error_percent", sa.BigInteger(), nullable=False),
        sa.Column("min_requests", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canaries")),
    )
    exists = sa.text("deleted_at_us IS NULL")
    op.create_index(
        "uq_canaries_name",
        "canaries",
        ["name"],
        unique=True,
        sqlite_where=exists,
        postgresql_where=exists,
    )


def downgrade() -> None:
    """Takes the step back."""
    op.drop_table("canaries")
