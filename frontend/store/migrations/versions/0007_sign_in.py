"""Steps of a sign-in, one-time passwords, second factors, identities of a provider, and uptime."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Takes one step forward."""
    op.add_column(
        "users",
        sa.Column("password_once", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column("sessions", sa.Column("stage", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "authenticators",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_at_us", sa.BigInteger(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_authenticators_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_authenticators")),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_recovery_codes_user_id")),
        sa.PrimaryKeyConstraint("user_id", "digest", name=op.f("pk_recovery_codes")),
    )
    op.create_table(
        "identities",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_identities_user_id")),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_identities")),
    )
    op.create_index("ix_identities_user_id", "identities", ["user_id"], unique=False)
    op.create_table(
        "uptime",
        sa.Column("hour_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("checked", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ready", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("hour_us", name=op.f("pk_uptime")),
    )


def downgrade() -> None:
    """Takes the step back."""
    for table in ("uptime", "identities", "recovery_codes", "authenticators"):
        op.drop_table(table)
    # their next step is lost, and none of them may become a whole session
    op.execute("DELETE FROM sessions WHERE stage <> ''")
    op.drop_column("sessions", "stage")
    op.drop_column("users", "password_once")
