"""Who may use the gateway: organisations, groups, users, roles, keys, and requests for keys.

Organisations ⊃ groups ⊃ users ⊃ keys. What is deleted stays as a row with `deleted_at_us`, so that
usage keeps the name of its owner; names are unique among what is not deleted.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    false,
)
from sqlalchemy import text as sql

from frontend.store.tables.columns import (
    AsciiLower,
    belongs,
    count,
    identifier,
    instant,
    metadata,
    optional_instant,
    text,
)

_EXISTS = sql("deleted_at_us IS NULL")


def _unique_while_it_exists(table: str, *columns: str) -> Index:
    name = f"uq_{table}_{'_'.join(columns)}"
    return Index(name, *columns, unique=True, sqlite_where=_EXISTS, postgresql_where=_EXISTS)


organisations = Table(
    "organisations",
    metadata,
    identifier(),
    text("name"),
    instant("created_at_us"),
    optional_instant("disabled_at_us"),
    optional_instant("deleted_at_us"),
    _unique_while_it_exists("organisations", "name"),
)

groups = Table(
    "groups",
    metadata,
    identifier(),
    belongs("organisation_id", "organisations.id"),
    text("name"),
    Column("weight", Integer, nullable=False, server_default="1"),
    instant("created_at_us"),
    optional_instant("disabled_at_us"),
    optional_instant("deleted_at_us"),
    Column("audit", Text),  # none, metadata, full; null as in the settings, also the two below
    Column("audit_strict", Boolean),
    Column("audit_days", Integer),
    Column("upstreams", JSON(none_as_null=True)),  # allowed values of labels; null: every upstream
    _unique_while_it_exists("groups", "organisation_id", "name"),
)

roles = Table(
    "roles",
    metadata,
    Column("name", Text, primary_key=True),
    Column("weight", Integer, nullable=False),
    Column("permissions", JSON, nullable=False),
    Column("built_in", Boolean, nullable=False),
    instant("updated_at_us"),
)

users = Table(
    "users",
    metadata,
    identifier(),
    belongs("group_id", "groups.id"),
    belongs("role", "roles.name"),
    text("name"),
    text("display_name", default=""),
    Column("email", Text),
    Column("password", Text),  # Argon2id, in the encoded form that names its parameters
    # an administrator has set the password: its user must choose another one
    Column("password_once", Boolean, nullable=False, server_default=false()),
    instant("created_at_us"),
    instant("updated_at_us"),
    optional_instant("disabled_at_us"),
    optional_instant("deleted_at_us"),
    _unique_while_it_exists("users", "name"),
)
Index(
    "uq_users_email_any_case",
    AsciiLower(users.c.email),
    unique=True,
    sqlite_where=_EXISTS,
    postgresql_where=_EXISTS,
)

keys = Table(
    "keys",
    metadata,
    identifier(),  # the public id, which is part of the key itself
    belongs("user_id", "users.id"),
    text("name", default=""),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the secret
    Column("previous_digest", LargeBinary),  # after a rotation, until the grace period ends
    optional_instant("previous_ends_at_us"),
    # what was replaced before that and still works: SHA-256 in hexadecimal, and until when
    Column("earlier_digests", JSON),
    Column("models", JSON),  # scopes: what is null narrows nothing
    Column("endpoints", JSON),
    Column("networks", JSON),
    Column("created_by", Text),
    instant("created_at_us"),
    optional_instant("expires_at_us"),
    optional_instant("last_used_at_us"),
    optional_instant("disabled_at_us"),
    optional_instant("deleted_at_us"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of what the browser's cookie holds
    belongs("user_id", "users.id"),
    instant("created_at_us"),
    instant("seen_at_us"),
    instant("expires_at_us"),
    text("address", default=""),  # where it began, and in which browser
    text("agent", default=""),
    text("stage", default=""),  # what is still missing until it is one: see `accounts.sessions`
    Index("ix_sessions_expires_at_us", "expires_at_us"),
)

authenticators = Table(
    "authenticators",
    metadata,
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True),
    Column("secret", LargeBinary, nullable=False),  # of RFC 6238, encrypted: see `accounts.seal`
    instant("created_at_us"),
    optional_instant("confirmed_at_us"),  # when its first code was entered; null: it is not in use
    count("last_step"),  # the 30 seconds of the last code: none works twice
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True),
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of 80 random bits
)

identities = Table(
    "identities",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),  # unique within the issuer, and never given again
    belongs("user_id", "users.id"),
    instant("created_at_us"),
)

key_requests = Table(
    "key_requests",
    metadata,
    identifier(),
    text("name"),
    text("email"),
    text("reason"),
    text("status"),  # pending, approved, refused
    text("key_id"),  # the public id of the key that works once it is approved
    Column("claim_digest", LargeBinary, nullable=False),  # of that key, which the applicant holds
    text("address", default=""),
    Column("note", Text),
    belongs("user_id", "users.id", optional=True),
    Column("decided_by", Text),
    instant("created_at_us"),
    instant("expires_at_us"),
    optional_instant("decided_at_us"),
    Index("ix_key_requests_status_id", "status", "id"),
)

admin_events = Table(
    "admin_events",
    metadata,
    identifier(),
    instant("at_us"),
    text("actor_id"),
    text("actor_name"),
    text("action"),
    text("target_kind"),
    text("target_id"),
    Column("details", JSON, nullable=False),
    text("request_id", default=""),
    text("address", default=""),
    Column("number", BigInteger),
    Column("before", JSON(none_as_null=True)),
    Column("after", JSON(none_as_null=True)),
    Column("chain", LargeBinary),  # `store.chain` makes and checks it
    Index("ix_admin_events_target_id", "target_id", "id"),
    Index("ix_admin_events_number", "number", unique=True),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    text("action"),
    Column("request_digest", LargeBinary, nullable=False),
    Column("status", Integer),  # null while the first request runs
    Column("answer", LargeBinary),
    instant("created_at_us"),
    instant("expires_at_us"),
    Index("ix_idempotency_keys_expires_at_us", "expires_at_us"),
)
