"""Keys that were replaced twice within their grace period. Drops a column that was not used."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Takes one step forward."""
    op.add_column("keys", sa.Column("earlier_digests", sa.JSON(), nullable=True))
    op.drop_column("keys", "rotation")


def downgrade() -> None:
    """Takes the step back."""
    op.add_column("keys", sa.Column("rotation", sa.Text(), nullable=True))
    op.drop_column("keys", "earlier_digests")
