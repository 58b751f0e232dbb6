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
        default=30 * 86400, ge=1, description="Seconds that a stored response lives."
    )
    max_responses_bytes: int = Field(
        default=256 * 2**20,
        ge=0,
        description="Bytes of stored responses in all; the oldest go when there is no room.",
    )
    link_ttl_s: int = Field(
        default=3600, ge=1, description="Seconds that a link to a generated image lives."
    )
    max_stored_bytes: int = Field(
        default=256 * 2**20,
        ge=0,
        description="Bytes of linked images in memory; the oldest go when there is no room.",
    )
