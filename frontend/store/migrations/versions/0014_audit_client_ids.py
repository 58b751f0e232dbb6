"""The audit is searched by the ids that clients gave their requests."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Takes one step forward."""
    given = sa.text("client_id <> ''")
    op.create_index(
        "ix_audit_records_client_id",
        "audit_records",
        ["client_id", "id"],
        sqlite_where=given,
        postgresql_where=given,
    )


def downgrade() -> None:
    """Takes the step back."""
    op.drop_index("ix_audit_records_client_id", "audit_records")
