"""What searches of the audit need to be fast at ten million records.

The index of users has groups too, and PostgreSQL gets an inverted index of filters and of blocks of
time; its index of words gets the same blocks. `store.audit.postgres` says how they are used.
"""

from alembic import op

revision = "0008"
down_revision = "0007"

_USER = ["user_id", "id", "model", "status"]
_BLOCKS = ", ".join(
    f"'_{letter}' || CAST(id >> {shift} AS text)"
    for letter, shift in (("h", 44), ("i", 48), ("j", 52), ("k", 56))
)
_FILTERS = "'u' || user_id, 'g' || group_id, 'm' || model, 's' || CAST(status AS text)"
_WORDS = "string_to_array(words, ' ')"


def upgrade() -> None:
    """Takes one step forward."""
    op.drop_index("ix_audit_records_user", "audit_records")
    op.create_index("ix_audit_records_user", "audit_records", [*_USER, "group_id"])
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("SET LOCAL maintenance_work_mem = '256MB'")  # for millions of rows: half the time
    # every search reads the list of what is not in the index yet, so that list must be short (KiB)
    op.execute(
        f"CREATE INDEX ix_audit_filters ON audit_records USING gin ((ARRAY[{_FILTERS}, {_BLOCKS}]))"
        " WITH (gin_pending_list_limit = 1024)"
    )
    op.drop_index("ix_audit_words", "audit_contents")
    op.execute(
        "CREATE INDEX ix_audit_words ON audit_contents USING gin"
        f" (array_to_tsvector({_WORDS} || ARRAY[{_BLOCKS}])) WITH (gin_pending_list_limit = 1024)"
    )


def downgrade() -> None:
    """Takes the step back."""
    op.drop_index("ix_audit_records_user", "audit_records")
    op.create_index("ix_audit_records_user", "audit_records", _USER)
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("DROP INDEX ix_audit_filters")
    op.drop_index("ix_audit_words", "audit_contents")
    op.execute(
        f"CREATE INDEX ix_audit_words ON audit_contents USING gin (array_to_tsvector({_WORDS}))"
    )
