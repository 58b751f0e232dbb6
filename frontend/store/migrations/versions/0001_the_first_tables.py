"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Takes one step forward."""
    _create_gateways()
    _create_organisations()
    _create_users()
    _create_keys()
    _create_quotas()
    _create_counters()
    _create_plans()
    _create_credits()
    _create_entries()
    _create_prices()
    _create_usage()
    _create_hours()
    _create_contents()


def _create_gateways() -> None:
    """Gateways, what they tell each other and share, and what administrators did."""
    op.create_table(
        "gateways",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateways")),
    )
    op.create_table(
        "changes",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_changes")),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
    op.create_table(
        "admin_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target_kind", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("request_id", sa.Text(), server_default="", nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_events")),
    )
    op.create_index("ix_admin_events_target_id", "admin_events", ["target_id", "id"], unique=False)


def _create_organisations() -> None:
    """Organisations and the groups in them."""
    op.create_table(
        "organisations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at_us", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisations")),
    )
    op.create_index(
        "uq_organisations_name",
        "organisations",
        ["name"],
        unique=True,
        sqlite_where=sa.text("deleted_at_us IS NULL"),
        postgresql_where=sa.text("deleted_at_us IS NULL"),
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organisation_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("weight", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at_us", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisations.id"], name=op.f("fk_groups_organisation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
    )
    op.create_index(op.f("ix_groups_organisation_id"), "groups", ["organisation_id"], unique=False)
    op.create_index(
        "uq_groups_organisation_id_name",
        "groups",
        ["organisation_id", "name"],
        unique=True,
        sqlite_where=sa.text("deleted_at_us IS NULL"),
        postgresql_where=sa.text("deleted_at_us IS NULL"),
    )


def _create_users() -> None:
    """Users and what they may do."""
    op.create_table(
        "roles",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("built_in", sa.Boolean(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_roles")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at_us", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_users_group_id")),
        sa.ForeignKeyConstraint(["role"], ["roles.name"], name=op.f("fk_users_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index(op.f("ix_users_group_id"), "users", ["group_id"], unique=False)
    op.create_index(op.f("ix_users_role"), "users", ["role"], unique=False)
    op.create_index(
        "uq_users_email",
        "users",
        ["email"],
        unique=True,
        sqlite_where=sa.text("deleted_at_us IS NULL"),
        postgresql_where=sa.text("deleted_at_us IS NULL"),
    )
    op.create_index(
        "uq_users_name",
        "users",
        ["name"],
        unique=True,
        sqlite_where=sa.text("deleted_at_us IS NULL"),
        postgresql_where=sa.text("deleted_at_us IS NULL"),
    )


def _create_keys() -> None:
    """Keys, and requests for them."""
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("previous_digest", sa.LargeBinary(), nullable=True),
        sa.Column("previous_ends_at_us", sa.BigInteger(), nullable=True),
        sa.Column("rotation", sa.Text(), nullable=True),
        sa.Column("models", sa.JSON(), nullable=True),
        sa.Column("endpoints", sa.JSON(), nullable=True),
        sa.Column("networks", sa.JSON(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at_us", sa.BigInteger(), nullable=True),
        sa.Column("disabled_at_us", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_keys_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_index(op.f("ix_keys_user_id"), "keys", ["user_id"], unique=False)
    op.create_table(
        "key_requests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("claim_digest", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("decided_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_key_requests_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_requests")),
    )
    op.create_index("ix_key_requests_status_id", "key_requests", ["status", "id"], unique=False)
    op.create_index(op.f("ix_key_requests_user_id"), "key_requests", ["user_id"], unique=False)


def _create_quotas() -> None:
    """Limits, and requests to raise them."""
    op.create_table(
        "quotas",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope_kind", sa.Text(), nullable=False),
        sa.Column("scope_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), server_default="", nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_quotas_amount")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quotas")),
    )
    op.create_index(
        "ix_quotas_scope_kind_scope_id", "quotas", ["scope_kind", "scope_id"], unique=False
    )
    op.create_table(
        "quota_requests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("scope_kind", sa.Text(), nullable=False),
        sa.Column("scope_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("quota_id", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("decided_at_us", sa.BigInteger(), nullable=True),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_quota_requests_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_requests")),
    )
    op.create_index("ix_quota_requests_status_id", "quota_requests", ["status", "id"], unique=False)
    op.create_index(op.f("ix_quota_requests_user_id"), "quota_requests", ["user_id"], unique=False)


def _create_counters() -> None:
    """What counts against limits."""
    op.create_table(
        "counters",
        sa.Column("scope_id", sa.Text(), nullable=False),
        sa.Column("scope_kind", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("starts_at_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("used", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("next_at_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("buckets", sa.JSON(), nullable=False),
        sa.CheckConstraint("reserved >= 0", name=op.f("ck_counters_reserved")),
        sa.CheckConstraint("used >= 0", name=op.f("ck_counters_used")),
        sa.PrimaryKeyConstraint(
            "scope_id", "scope_kind", "model", "measure", "period", name=op.f("pk_counters")
        ),
    )
    op.create_table(
        "reservations",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("organisation_id", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("credits_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_reservations")),
    )
    op.create_index(
        "ix_reservations_expires_at_us", "reservations", ["expires_at_us"], unique=False
    )
    op.create_index("ix_reservations_gateway_id", "reservations", ["gateway_id"], unique=False)


def _create_plans() -> None:
    """Plans and who has one."""
    plans = op.create_table(
        "plans",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credits_micro", sa.BigInteger(), nullable=True),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("quotas", sa.JSON(), nullable=False),
        sa.Column("built_in", sa.Boolean(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint("name", name=op.f("uq_plans_name")),
    )
    _seed_plans(plans)
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope_kind", sa.Text(), nullable=False),
        sa.Column("scope_id", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("next_plan_id", sa.Text(), nullable=True),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.Column("period_starts_at_us", sa.BigInteger(), nullable=False),
        sa.Column("period_ends_at_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["next_plan_id"], ["plans.id"], name=op.f("fk_subscriptions_next_plan_id")
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_subscriptions_plan_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
    )
    op.create_index(
        op.f("ix_subscriptions_next_plan_id"), "subscriptions", ["next_plan_id"], unique=False
    )
    op.create_index(op.f("ix_subscriptions_plan_id"), "subscriptions", ["plan_id"], unique=False)
    op.create_index(
        "uq_subscriptions_scope_kind_scope_id",
        "subscriptions",
        ["scope_kind", "scope_id"],
        unique=True,
        sqlite_where=sa.text("ended_at_us IS NULL"),
        postgresql_where=sa.text("ended_at_us IS NULL"),
    )


def _create_credits() -> None:
    """Balances, and what changes them."""
    op.create_table(
        "credit_accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope_kind", sa.Text(), nullable=False),
        sa.Column("scope_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("balance_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_accounts")),
        sa.UniqueConstraint(
            "scope_kind",
            "scope_id",
            "name",
            name=op.f("uq_credit_accounts_scope_kind_scope_id_name"),
        ),
    )
    op.create_table(
        "credit_transactions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_transactions")),
        sa.UniqueConstraint(
            "request_id", "kind", name=op.f("uq_credit_transactions_request_id_kind")
        ),
    )


def _create_entries() -> None:
    """Which transaction changed which balance."""
    op.create_table(
        "credit_entries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("amount_micro", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["credit_accounts.id"], name=op.f("fk_credit_entries_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["credit_transactions.id"],
            name=op.f("fk_credit_entries_transaction_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_entries")),
    )
    op.create_index(
        op.f("ix_credit_entries_account_id"), "credit_entries", ["account_id"], unique=False
    )
    op.create_index(
        op.f("ix_credit_entries_transaction_id"), "credit_entries", ["transaction_id"], unique=False
    )


def _create_prices() -> None:
    """Prices of models."""
    op.create_table(
        "prices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("upstream", sa.Text(), server_default="*", nullable=False),
        sa.Column("starts_at_us", sa.BigInteger(), nullable=False),
        sa.Column("prompt_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cached_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("completion_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("image_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("request_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("credits_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prices")),
        sa.UniqueConstraint(
            "model",
            "upstream",
            "starts_at_us",
            name=op.f("uq_prices_model_upstream_starts_at_us"),
        ),
    )


def _create_usage() -> None:
    """Requests."""
    op.create_table(
        "usage",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("organisation_id", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("images", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("credits_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("price_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("duration_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage")),
        sa.UniqueConstraint("request_id", name=op.f("uq_usage_request_id")),
    )
    op.create_index("ix_usage_started_at_us", "usage", ["started_at_us"], unique=False)
    op.create_index(
        "ix_usage_user_id_started_at_us", "usage", ["user_id", "started_at_us"], unique=False
    )


def _create_hours() -> None:
    """Sums of requests by hour."""
    op.create_table(
        "usage_hourly",
        sa.Column("hour_at_us", sa.BigInteger(), nullable=False),
        sa.Column("organisation_id", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("images", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("credits_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("price_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("duration_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint(
            "hour_at_us",
            "organisation_id",
            "group_id",
            "user_id",
            "key_id",
            "model",
            name=op.f("pk_usage_hourly"),
        ),
    )
    op.create_index(
        "ix_usage_hourly_user_id_hour_at_us",
        "usage_hourly",
        ["user_id", "hour_at_us"],
        unique=False,
    )


def _create_contents() -> None:
    """What clients keep here."""
    op.create_table(
        "files",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_files")),
    )
    op.create_index(
        "ix_files_created_at_us_size_bytes", "files", ["created_at_us", "size_bytes"], unique=False
    )
    op.create_index("ix_files_expires_at_us", "files", ["expires_at_us"], unique=False)
    op.create_table(
        "responses",
        sa.Column("owner_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("conversation", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "id", name=op.f("pk_responses")),
    )
    op.create_index(
        "ix_responses_created_at_us_size_bytes",
        "responses",
        ["created_at_us", "size_bytes"],
        unique=False,
    )
    op.create_index("ix_responses_expires_at_us", "responses", ["expires_at_us"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("owner_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        "ix_idempotency_keys_expires_at_us", "idempotency_keys", ["expires_at_us"], unique=False
    )


def _seed_plans(plans: sa.Table) -> None:
    """An administrator may edit these."""
    fair_use = [["tokens", "minute", 200_000]]
    rows = [
        ("free", 100, False, []),
        ("developer", 1_000, False, []),
        ("pro", None, False, fair_use),
        ("teams", 10_000, True, []),
        ("enterprise", None, True, []),
    ]
    op.bulk_insert(
        plans,
        [
            {
                "id": name,
                "name": name,
                "credits_micro": None if credits is None else credits * 1_000_000,
                "shared": shared,
                "quotas": quotas,
                "built_in": True,
                "created_at_us": 0,
            }
            for name, credits, shared, quotas in rows
        ],
    )


def downgrade() -> None:
    """Takes the step back."""
    op.drop_table("quota_requests")
    op.drop_table("keys")
    op.drop_table("key_requests")
    op.drop_table("users")
    op.drop_table("subscriptions")
    op.drop_table("groups")
    op.drop_table("credit_entries")
    op.drop_table("usage_hourly")
    op.drop_table("usage")
    op.drop_table("secrets")
    op.drop_table("roles")
    op.drop_table("responses")
    op.drop_table("reservations")
    op.drop_table("quotas")
    op.drop_table("prices")
    op.drop_table("plans")
    op.drop_table("organisations")
    op.drop_table("idempotency_keys")
    op.drop_table("gateways")
    op.drop_table("files")
    op.drop_table("credit_transactions")
    op.drop_table("credit_accounts")
    op.drop_table("counters")
    op.drop_table("changes")
    op.drop_table("admin_events")
