"""What answers refer to later: responses, linked files, the secret that signs links; and changes.

`changes` tells each gateway process that something was changed by another: it compares the number
of a topic with the last one that it has seen.
"""

from sqlalchemy import JSON, BigInteger, Column, Index, LargeBinary, Table, Text

from frontend.store.tables.columns import instant, metadata, optional_instant, text

responses = Table(
    "responses",
    metadata,
    Column("owner_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    instant("created_at_us"),
    instant("expires_at_us"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("conversation", LargeBinary, nullable=False),
    Index("ix_responses_created_at_us_size_bytes", "created_at_us", "size_bytes"),
    Index("ix_responses_expires_at_us", "expires_at_us"),
)

files = Table(
    "files",
    metadata,
    Column("name", Text, primary_key=True),
    text("media_type"),
    instant("created_at_us"),
    instant("expires_at_us"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index("ix_files_created_at_us_size_bytes", "created_at_us", "size_bytes"),
    Index("ix_files_expires_at_us", "expires_at_us"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    text("owner_id"),
    text("name"),
    text("purpose"),
    Column("size_bytes", BigInteger, nullable=False),
    instant("created_at_us"),
    optional_instant("expires_at_us"),
    Index("ix_uploads_owner_id_id", "owner_id", "id"),
    Index("ix_uploads_expires_at_us", "expires_at_us"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    text("owner_id"),
    text("status"),
    text("input_id"),
    Column("document", JSON, nullable=False),  # the rest of it
    Index("ix_batches_owner_id_id", "owner_id", "id"),
    Index("ix_batches_status", "status"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)
