"""What the audit keeps, for how long, and how much of it may wait in memory."""

from pydantic import Field

from frontend.settings.group import Group


class AuditSettings(Group):
    """The audit of requests."""

    audit: str = Field(
        default="metadata",
        pattern="^(none|metadata|full)$",
        description="What is kept of the requests of groups without a policy of their own: `none`,"
        " `metadata` (no text, only a digest), or `full` with prompts, answers and images.",
    )
    audit_strict: bool = Field(
        default=False,
        description="With `full`: refuse a request whose record could be lost (503).",
    )
    audit_days: int = Field(
        default=90, ge=1, le=36_500, description="Days until audit records are removed."
    )
    max_audit_records: int = Field(
        default=20_000, ge=1, description="Audit records that may wait to be written."
    )
    max_audit_bytes: int = Field(
        default=128 * 2**20,
        ge=1024,
        description="Bytes of prompts, answers and images that may wait to be written.",
    )
