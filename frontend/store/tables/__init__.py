"""Every table of the database, as SQLAlchemy Core knows it. `migrations` creates them.

To change one, change its migration as well: a test compares the two on SQLite and PostgreSQL.
"""

from frontend.store.tables.accounts import (
    admin_events,
    authenticators,
    groups,
    idempotency_keys,
    identities,
    key_requests,
    keys,
    organisations,
    recovery_codes,
    roles,
    sessions,
    users,
)
from frontend.store.tables.audit import (
    audit_artifacts,
    audit_contents,
    audit_records,
    chain_heads,
)
from frontend.store.tables.backends import backend_runs, backends
from frontend.store.tables.canaries import canaries, canary_results
from frontend.store.tables.columns import metadata
from frontend.store.tables.contents import batches, changes, files, responses, secrets, uploads
from frontend.store.tables.limits import (
    counters,
    credit_accounts,
    credit_entries,
    credit_transactions,
    gateways,
    plans,
    prices,
    quota_requests,
    quotas,
    reservations,
    subscriptions,
)
from frontend.store.tables.uptime import uptime
from frontend.store.tables.usage import usage, usage_hourly, usage_rollups

__all__ = [
    "admin_events",
    "audit_artifacts",
    "audit_contents",
    "audit_records",
    "authenticators",
    "backend_runs",
    "backends",
    "batches",
    "canaries",
    "canary_results",
    "chain_heads",
    "changes",
    "counters",
    "credit_accounts",
    "credit_entries",
    "credit_transactions",
    "files",
    "gateways",
    "groups",
    "idempotency_keys",
    "identities",
    "key_requests",
    "keys",
    "metadata",
    "organisations",
    "plans",
    "prices",
    "quota_requests",
    "quotas",
    "recovery_codes",
    "reservations",
    "responses",
    "roles",
    "secrets",
    "sessions",
    "subscriptions",
    "uploads",
    "uptime",
    "usage",
    "usage_hourly",
    "usage_rollups",
    "users",
]
