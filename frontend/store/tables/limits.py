"""What callers may use: quotas, plans, counters, reservations, and credits in double entry.

A scope is `(scope_kind, scope_id)`: organisation, group, user or key. A `model` of '' means every
model: NULL would make unique keys meaningless. `measure` is what a quota counts (requests, tokens,
concurrency), `period` over which time, as `accounts.windows` names it (minute, month, 30d, …).
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy import text as sql

from frontend.store.tables.columns import (
    belongs,
    count,
    identifier,
    instant,
    metadata,
    optional_instant,
    text,
)

_WHAT = ("scope_kind", "scope_id", "model", "measure", "period")
# an order that finds and locks all counters of one subject together
_COUNTED = ("scope_id", "scope_kind", "model", "measure", "period")
_RUNNING = sql("ended_at_us IS NULL")

quotas = Table(
    "quotas",
    metadata,
    identifier(),
    text("scope_kind"),
    text("scope_id"),
    text("model", default=""),
    text("measure"),
    text("period"),
    Column("amount", BigInteger, nullable=False),
    Column("created_by", Text),
    instant("created_at_us"),
    optional_instant("expires_at_us"),  # of an increase that was granted for a time
    CheckConstraint("amount >= 0", name="amount"),
    Index("ix_quotas_scope_kind_scope_id", "scope_kind", "scope_id"),
)

quota_requests = Table(
    "quota_requests",
    metadata,
    identifier(),
    belongs("user_id", "users.id"),
    *(text(name) for name in _WHAT),
    Column("amount", BigInteger, nullable=False),
    text("reason"),
    text("status"),  # pending, approved, refused, expired
    Column("note", Text),
    Column("quota_id", Text),
    Column("decided_by", Text),
    instant("created_at_us"),
    optional_instant("decided_at_us"),
    optional_instant("expires_at_us"),  # until when the increase is asked for or granted
    optional_instant("answer_seen_at_us"),
    Index("ix_quota_requests_status_id", "status", "id"),
    Index("ix_quota_requests_user_id_status", "user_id", "status"),
)

counters = Table(
    "counters",
    metadata,
    *(Column(name, Text, primary_key=True) for name in _COUNTED),
    count("starts_at_us"),  # of the period that `used` belongs to
    count("used"),
    count("reserved"),
    count("next_at_us"),  # GCRA's theoretical arrival time
    Column("buckets", JSON, nullable=False),  # of a rolling period: what was used since when
    CheckConstraint("used >= 0", name="used"),
    CheckConstraint("reserved >= 0", name="reserved"),
)

gateways = Table(
    "gateways",
    metadata,
    identifier(),
    text("address", default=""),
    instant("started_at_us"),
    instant("expires_at_us"),  # its lease: afterwards others settle what it had reserved
)

reservations = Table(
    "reservations",
    metadata,
    Column("request_id", Text, primary_key=True),
    text("gateway_id"),
    text("organisation_id"),
    text("group_id"),
    text("user_id"),
    text("key_id"),
    text("model"),
    Column("details", JSON, nullable=False),  # what of each limit; what its usage row needs
    count("tokens"),
    count("credits_micro"),
    count("prompt_tokens"),  # as last flushed
    count("completion_tokens"),
    instant("created_at_us"),
    instant("expires_at_us"),
    Index("ix_reservations_expires_at_us", "expires_at_us"),
    Index("ix_reservations_gateway_id", "gateway_id"),
)

plans = Table(
    "plans",
    metadata,
    identifier(),
    text("name"),
    Column("credits_micro", BigInteger),  # for each period; null: unlimited
    Column("shared", Boolean, nullable=False),
    Column("quotas", JSON, nullable=False),
    Column("built_in", Boolean, nullable=False),
    instant("created_at_us"),
    optional_instant("deleted_at_us"),
    UniqueConstraint("name"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    identifier(),
    text("scope_kind"),
    text("scope_id"),
    belongs("plan_id", "plans.id"),
    belongs("next_plan_id", "plans.id", optional=True),
    instant("started_at_us"),
    instant("period_starts_at_us"),
    instant("period_ends_at_us"),
    Column("period_credits_micro", BigInteger),  # of the plan in this period; null: unlimited
    optional_instant("ended_at_us"),
    Index(
        "uq_subscriptions_scope_kind_scope_id",
        "scope_kind",
        "scope_id",
        unique=True,
        sqlite_where=_RUNNING,
        postgresql_where=_RUNNING,
    ),
)

credit_accounts = Table(
    "credit_accounts",
    metadata,
    identifier(),
    text("scope_kind"),
    text("scope_id"),
    text("name"),  # available, reserved, spent, …; those of scope 'system' are the other side
    count("balance_micro"),
    UniqueConstraint("scope_kind", "scope_id", "name"),
)

credit_transactions = Table(
    "credit_transactions",
    metadata,
    identifier(),
    text("kind"),  # grant, reserve, spend, refund, expire
    Column("request_id", Text),
    text("note", default=""),
    Column("created_by", Text),
    instant("created_at_us"),
    UniqueConstraint("request_id", "kind"),
)

credit_entries = Table(
    "credit_entries",
    metadata,
    identifier(),
    belongs("transaction_id", "credit_transactions.id"),
    belongs("account_id", "credit_accounts.id"),
    Column("amount_micro", BigInteger, nullable=False),  # of one transaction they add up to 0
)

prices = Table(
    "prices",
    metadata,
    identifier(),
    text("model"),  # '*': every model, as of upstreams
    text("upstream", default="*"),
    instant("starts_at_us"),
    count("prompt_micro"),  # for a million tokens
    count("cached_micro"),
    count("completion_micro"),
    count("image_micro"),  # for one image
    count("request_micro"),
    count("credits_micro"),  # credits of one request
    UniqueConstraint("model", "upstream", "starts_at_us"),
)
