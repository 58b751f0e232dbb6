"""No two users have the same address in upper and lower case."""

import sqlalchemy as sa
from alembic import op

from frontend.store.migrate import WrongRevision

revision = "0016"
down_revision = "0015"

_OLD, _NEW = "uq_users_email", "uq_users_email_any_case"
_SHOWN = 10
_EXISTS = sa.text("deleted_at_us IS NULL")


def upgrade() -> None:
    """Takes one step forward. Raises WrongRevision where users have the same address."""
    # of ASCII letters alone, as SQLite does it, whatever PostgreSQL's locale is
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    folded = "lower(email)" if is_sqlite else 'lower(email COLLATE "C")'
    _check(folded)
    op.drop_index(_OLD, "users")
    op.create_index(
        _NEW,
        "users",
        [sa.text(folded)],
        unique=True,
        sqlite_where=_EXISTS,
        postgresql_where=_EXISTS,
    )


def downgrade() -> None:
    """Takes the step back."""
    op.drop_index(_NEW, "users")
    op.create_index(
        _OLD, "users", ["email"], unique=True, sqlite_where=_EXISTS, postgresql_where=_EXISTS
    )


def _check(folded: str) -> None:
    query = (
        f"SELECT email, name, id FROM users WHERE deleted_at_us IS NULL AND {folded} IN"  # noqa: S608
        f" (SELECT {folded} FROM users WHERE deleted_at_us IS NULL GROUP BY {folded}"
        f" HAVING count(*) > 1) ORDER BY {folded}, id"
    )
    rows = op.get_bind().execute(sa.text(query)).all()
    if not rows:
        return
    users = "; ".join(f"'{name}' (id {user}, {email})" for email, name, user in rows[:_SHOWN])
    more = f"; and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    raise WrongRevision(
        f"users have the same e-mail address: {users}{more}; nothing was changed. With the release"
        " that you ran before, give all but one of them another address (`triton-gateway users edit"
        " NAME --email ADDRESS`), or delete them; then migrate again"
    )
