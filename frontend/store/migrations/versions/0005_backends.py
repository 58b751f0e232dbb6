"""Upstreams that are registered by the admin API."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Takes one step forward."""
    op.create_table(
        "backends",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("max_concurrent", sa.BigInteger(), nullable=True),
        sa.Column("max_num_seqs", sa.BigInteger(), nullable=True),
        sa.Column("gpu_memory_mib", sa.BigInteger(), nullable=True),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("external", sa.Boolean(), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("api_key_env", sa.Text(), nullable=True),
        sa.Column("api_key_file", sa.Text(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("draining_at_us", sa.BigInteger(), nullable=True),
        sa.Column("refreshed_at_us", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backends")),
    )
    exists = sa.text("deleted_at_us IS NULL")
    op.create_index(
        "uq_backends_name",
        "backends",
        ["name"],
        unique=True,
        sqlite_where=exists,
        postgresql_where=exists,
    )
    op.create_table(
        "backend_runs",
        sa.Column("backend_id", sa.Text(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("running", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("backend_id", "gateway_id", name=op.f("pk_backend_runs")),
    )


def downgrade() -> None:
    """Takes the step back."""
    op.drop_table("backend_runs")
    op.drop_table("backends")
