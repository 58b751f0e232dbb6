"""What outlives a request, where, and for how long."""

import os
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from frontend.settings.group import Group


def _data_directory() -> Path:
    """Where the XDG base directory specification puts data of a user."""
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "triton-gateway"


class StoreSettings(Group):
    """The database, stored responses, and images behind links."""

    data_directory: Path = Field(
        default_factory=_data_directory,
        description="Folder of the gateway's own files: the SQLite database `gateway.db`, where no"
        " other database is set.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="The database: `postgresql://USER:PASSWORD@HOST:5432/NAME`, or"
        " `sqlite:////path/of/a/file.db`. Default: `gateway.db` in the data directory.",
    )
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

    @field_validator("database_url")
    @classmethod
    def _is_known(cls, value: SecretStr | None) -> SecretStr | None:
        """The rest is checked when it is used, by what knows SQLAlchemy."""
        schemes = ("postgresql://", "postgres://", "postgresql+asyncpg://", "sqlite:///")
        if value is not None and not value.get_secret_value().startswith(schemes):
            raise ValueError("must start with 'postgresql://' or 'sqlite:///'")
        return value
