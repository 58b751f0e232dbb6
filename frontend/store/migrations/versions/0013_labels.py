"""Labels of upstreams, and the rules of groups about them."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"


def upgrade() -> None:
    """Takes one step forward."""
    op.add_column("backends", sa.Column("labels", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("groups", sa.Column("upstreams", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Takes the step back."""
    op.drop_column("groups", "upstreams")
    op.drop_column("backends", "labels")
