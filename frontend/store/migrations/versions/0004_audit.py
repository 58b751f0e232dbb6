"""Audit records with their contents, the audit policy of groups, and a chain of admin events."""

import hashlib

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"

_EVENT = (
    "id", "at_us", "actor_id", "actor_name", "action", "target_kind", "target_id", "details",
    "request_id", "address",
)  # fmt: skip
_TEXTS = (
    "request_id", "client_id", "group_id", "user_id", "user_name", "key_id", "dialect", "method",
    "route", "model", "upstream", "decision", "error", "address", "level",
)  # fmt: skip
_DEFAULT_EMPTY = {
    "client_id", "group_id", "user_name", "key_id", "model", "upstream", "error", "address",
}  # fmt: skip
_COUNTS = (
    "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "images",
    "credits_micro", "queue_us", "duration_us",
)  # fmt: skip


def upgrade() -> None:
    """Takes one step forward."""
    _create_records()
    _create_contents()
    op.add_column("groups", sa.Column("audit", sa.Text(), nullable=True))
    op.add_column("groups", sa.Column("audit_strict", sa.Boolean(), nullable=True))
    op.add_column("groups", sa.Column("audit_days", sa.Integer(), nullable=True))
    op.add_column("admin_events", sa.Column("number", sa.BigInteger(), nullable=True))
    op.add_column("admin_events", sa.Column("before", sa.JSON(), nullable=True))
    op.add_column("admin_events", sa.Column("after", sa.JSON(), nullable=True))
    op.add_column("admin_events", sa.Column("chain", sa.LargeBinary(), nullable=True))
    op.create_index("ix_admin_events_number", "admin_events", ["number"], unique=True)
    op.create_table(
        "chain_heads",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_chain_heads")),
    )
    _chain_older_events()


def _create_records() -> None:
    texts = [
        sa.Column(
            name, sa.Text(), nullable=False, server_default="" if name in _DEFAULT_EMPTY else None
        )
        for name in _TEXTS
    ]
    counts = [
        sa.Column(name, sa.BigInteger(), nullable=False, server_default="0") for name in _COUNTS
    ]
    op.create_table(
        "audit_records",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        *texts,
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("ran", sa.Boolean(), nullable=False),
        *counts,
        sa.Column("first_token_us", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_records")),
    )
    for name, columns in (
        ("user", ["user_id", "id", "model", "status"]),
        ("group", ["group_id", "id", "model", "status"]),
        ("model", ["model", "id", "status"]),
        ("status", ["status", "id", "model"]),
        ("request_id", ["request_id"]),
    ):
        op.create_index(f"ix_audit_records_{name}", "audit_records", columns)


def _create_contents() -> None:
    op.create_table(
        "audit_contents",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_contents")),
    )
    op.create_table(
        "audit_artifacts",
        sa.Column("record_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "digest", name=op.f("pk_audit_artifacts")),
    )
    op.create_index("ix_audit_artifacts_digest", "audit_artifacts", ["digest"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE INDEX ix_audit_words ON audit_contents USING gin"
            " (array_to_tsvector(string_to_array(words, ' ')))"
        )
        return
    # the index follows its table, also in a restore, which only knows the table
    op.execute(
        "CREATE VIRTUAL TABLE audit_words USING fts5(words, content='audit_contents',"
        " content_rowid='id', detail='none',"
        " tokenize=\"unicode61 remove_diacritics 0 tokenchars '_'\")"
    )
    op.execute(
        "CREATE TRIGGER audit_words_added AFTER INSERT ON audit_contents BEGIN"
        " INSERT INTO audit_words(rowid, words) VALUES (new.id, new.words); END"
    )
    op.execute(
        "CREATE TRIGGER audit_words_removed AFTER DELETE ON audit_contents BEGIN"
        " INSERT INTO audit_words(audit_words, rowid, words)"
        " VALUES ('delete', old.id, old.words); END"
    )


def _chain_older_events() -> None:
    """As `store.chain` does for every new event."""
    json_columns = {"details": sa.JSON(), "before": sa.JSON(), "after": sa.JSON()}
    columns = [sa.column(name, json_columns.get(name)) for name in (*_EVENT, "before", "after")]
    events = sa.table("admin_events", *columns, sa.column("number"), sa.column("chain"))
    bind, digest, number = op.get_bind(), bytes(32), 0
    for row in bind.execute(sa.select(*columns).order_by(events.c.id)).mappings().all():
        number += 1
        line = orjson.dumps({**row, "number": number}, option=orjson.OPT_SORT_KEYS)
        digest = hashlib.sha256(digest + line).digest()
        change = events.update().where(events.c.id == row["id"])
        bind.execute(change.values(number=number, chain=digest))
    heads = sa.table("chain_heads", sa.column("name"), sa.column("number"), sa.column("digest"))
    bind.execute(heads.insert().values(name="admin_events", number=number, digest=digest))


def downgrade() -> None:
    """Takes the step back."""
    op.drop_table("chain_heads")
    op.drop_index("ix_admin_events_number", table_name="admin_events")
    for name in ("number", "before", "after", "chain"):
        op.drop_column("admin_events", name)
    for name in ("audit", "audit_strict", "audit_days"):
        op.drop_column("groups", name)
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE audit_words")
    op.drop_table("audit_artifacts")
    op.drop_table("audit_contents")
    op.drop_table("audit_records")
