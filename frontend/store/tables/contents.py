"""What answers refer to later: responses, linked files, the secret that signs links; and changes.

`changes` tells each gateway process that something was changed by another: it compares the number
of a topic with the last one that it has seen.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from frontend.store.tables.columns import instant, metadata, text

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
