"""Where a session began, and in which browser, so that its user can recognise it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Takes one step forward."""
    for name in ("address", "agent"):
        op.add_column("sessions", sa.Column(name, sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    """Takes the step back."""
    for name in ("agent", "address"):
        op.drop_column("sessions", name)
