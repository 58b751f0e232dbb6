"""One row for each request, and the content of those of groups with the policy `full`.

The id of a record is its moment in microseconds times 4096 plus a number of the gateway's process,
so the primary key orders by time, and a range of time is a range of ids. Each index ends with what
else may be asked, so that a search with several filters reads only that index.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text
from sqlalchemy import text as sql

from frontend.store.tables.columns import count, metadata, text

audit_records = Table(
    "audit_records",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    text("request_id"),
    text("client_id", default=""),
    text("group_id", default=""),
    text("user_id"),
    text("user_name", default=""),
    text("key_id", default=""),
    text("dialect"),
    text("method"),
    text("route"),
    text("model", default=""),
    text("upstream", default=""),
    text("decision"),  # allowed, refused, cancelled, cached
    Column("status", Integer, nullable=False),
    text("error", default=""),
    Column("ran", Boolean, nullable=False),  # whether a model has seen it: then it is in usage
    count("prompt_tokens"),
    count("cached_tokens"),
    count("completion_tokens"),
    count("reasoning_tokens"),
    count("images"),
    count("credits_micro"),
    count("queue_us"),
    Column("first_token_us", BigInteger),
    count("duration_us"),
    text("address", default=""),
    Column("digest", LargeBinary),  # SHA-256 of the request's body
    text("level"),
    Index("ix_audit_records_user", "user_id", "id", "model", "status", "group_id"),
    Index("ix_audit_records_group", "group_id", "id", "model", "status"),
    Index("ix_audit_records_model", "model", "id", "status"),
    Index("ix_audit_records_status", "status", "id", "model"),
    Index("ix_audit_records_request_id", "request_id"),
    Index(
        "ix_audit_records_client_id",
        "client_id",
        "id",
        # most clients send none
        sqlite_where=sql("client_id <> ''"),
        postgresql_where=sql("client_id <> ''"),
    ),
)

audit_contents = Table(
    "audit_contents",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    text("request"),
    text("answer"),
    text("words"),  # what the search for text finds: words of both, once each
)

audit_artifacts = Table(
    "audit_artifacts",
    metadata,
    Column("record_id", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, primary_key=True),  # SHA-256, and the name of the file
    text("media_type"),
    Column("size_bytes", BigInteger, nullable=False),
    Index("ix_audit_artifacts_digest", "digest"),
)

chain_heads = Table(
    "chain_heads",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)
