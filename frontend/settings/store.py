"""What outlives a request, where, and for how long."""

from pydantic import Field

from frontend.settings.group import Group


class StoreSettings(Group):
    """Stored responses, and images behind links."""

    responses_database: str = Field(
        default=":memory:",
        min_length=1,
        description="SQLite file that keeps responses for `previous_response_id`.",
    )
    responses_ttl_s: int = Field(
        default=30 * 86400, ge=1, description="Seconds until a stored response expires."
    )
    max_responses_bytes: int = Field(
        default=256 * 2**20,
        ge=0,
        description="Total bytes of stored responses; the oldest are removed first.",
    )
    link_ttl_s: int = Field(
        default=3600, ge=1, description="Seconds until a link to a generated image expires."
    )
    max_stored_bytes: int = Field(
        default=256 * 2**20,
        ge=0,
        description="Total bytes of linked images in memory; the oldest are removed first.",
    )
