"""The metrics, traces and logs of the gateway."""

import re
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from frontend.settings.group import Group


class TelemetrySettings(Group):
    """Metrics and the watch over the event loop."""

    block_warning_ms: int = Field(
        default=100,
        ge=1,
        description="Milliseconds after which a blocked event loop is logged with its cause.",
    )
    metrics_by_user: bool = Field(
        default=False,
        description="Export metrics of each user by id: requests and tokens, for at most 1000"
        " users.",
    )
    metrics_urls: dict[str, str] = Field(
        default_factory=dict,
        description="URLs of the metrics of upstreams, as JSON by name: "
        '`{"triton": "http://127.0.0.1:8002/metrics"}`. '
        "The gateway's /metrics contains them, too.",
    )
    metrics_interval_s: float = Field(
        default=15,
        ge=1,
        le=3600,
        description="Seconds between two reads of these metrics, and between points of the"
        " history.",
    )

    @field_validator("metrics_urls")
    @classmethod
    def _are_urls(cls, urls: dict[str, str]) -> dict[str, str]:
        for name, url in urls.items():
            if not re.fullmatch("[A-Za-z0-9._-]{1,64}", name):
                raise ValueError(f"{name!r} is not a name of letters, digits, '.', '_' and '-'")
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{url!r} of {name!r} is not an HTTP URL")
            _ = parts.port  # its ValueError says what is wrong
        return urls
