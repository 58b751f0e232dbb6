"""What the gateway reports about itself."""

from pydantic import Field

from frontend.settings.group import Group


class TelemetrySettings(Group):
    """Logs and the watch over the event loop."""

    block_warning_ms: int = Field(
        default=100,
        ge=1,
        description="Milliseconds that the event loop may be blocked before the cause is logged.",
    )
    metrics_by_user: bool = Field(
        default=False,
        description="Metrics of each user by id: requests and tokens, for at most 1000 users.",
    )
    log_level: str = Field(
        default="info",
        pattern="^(debug|info|warning|error)$",
        description="The lowest level that is logged.",
    )
