"""What outlives a request, where, and for how long."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from frontend.settings.group import Group


class StoreSettings(Group):
    """The database, stored responses, and images behind links."""

    data_directory: Path = Field(
        default=Path("~/.local/share/triton-gateway"),
        validate_default=True,
        description="Folder of the gateway's own files: the SQLite database `gateway.db`, where no"
        " other database is set.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="The database: `postgresql://USER:PASSWORD@HOST:5432/NAME`, or"
        " `sqlite:////path/of/a/file.db`. Default: `gateway.db` in the data directory.",
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
        description="Total bytes of stored images behind links; the oldest are removed first.",
    )

    @field_validator("data_directory")
    @classmethod
    def _is_a_folder(cls, value: Path) -> Path:
        try:
            return value.expanduser()
        except RuntimeError:
            raise ValueError(f"'{value}' is in a home directory, which this user lacks") from None

    @field_validator("database_url")
    @classmethod
    def _is_known(cls, value: SecretStr | None) -> SecretStr | None:
        """The rest is checked when it is used, by what knows SQLAlchemy."""
        schemes = ("postgresql://", "postgres://", "postgresql+asyncpg://", "sqlite:///")
        if value is not None and not value.get_secret_value().startswith(schemes):
            raise ValueError("must start with 'postgresql://' or 'sqlite:///'")
        return value

    @property
    def url(self) -> str | None:
        """`database_url` in the clear."""
        return None if self.database_url is None else self.database_url.get_secret_value()
