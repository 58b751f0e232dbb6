"""How fast each gateway saw the targets of canaries, so that all of them show the same mean."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_ADDED = ("answers", "first_token_us")


def upgrade() -> None:
    """Takes one step forward."""
    for name in _ADDED:
        op.add_column(
            "canary_results", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)
        )


def downgrade() -> None:
    """Takes the step back."""
    for name in _ADDED:
        op.drop_column("canary_results", name)
