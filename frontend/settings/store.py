"""The data that outlives a request: where it is stored, and for how long."""

import base64
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from frontend.settings.group import Group


class StoreSettings(Group):
    """The database, stored responses, and images behind links."""

    data_directory: Path = Field(
        default=Path("~/.local/share/triton-gateway"),
        validate_default=True,
        description="Folder of the gateway's own files, such as the SQLite database `gateway.db` if"
        " no other database is set.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="URL of the database: `postgresql://USER:PASSWORD@HOST:5432/NAME`, or"
        " `sqlite:////path/of/a/file.db`. Default: `gateway.db` in the data directory.",
    )
    secrets_key_file: Path | None = Field(
        default=None,
        description="File with the keys that encrypt secrets of second factors in the database:"
        " one line of 32 bytes in base64 for each (`openssl rand -base64 32`). The first key"
        " encrypts; all keys decrypt. Without this file, the key is stored in the database. The"
        " same for all gateways.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="URL of Redis 6.2 or later, in which several gateways count rates and running"
        " requests together: `redis://:PASSWORD@HOST:6379/0`, `rediss://` with"
        " TLS, or `unix:///path/of/a.sock`. The same for all gateways of a database.",
    )
    redis_timeout_s: float = Field(
        default=0.5,
        gt=0,
        le=10,
        description="Timeout of a call to Redis in seconds. After it, a gateway uses its share of"
        " the limits until Redis answers again.",
    )
    redis_gateways: int = Field(
        default=1,
        ge=1,
        description="Minimum of N: without Redis, a gateway uses 1/N of each limit. N is the number"
        " of gateways in the database if that is larger.",
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
            raise ValueError(
                f"'{value}' is in a home directory, and this user does not have one; use an"
                " absolute path"
            ) from None

    @field_validator("database_url")
    @classmethod
    def _is_known(cls, value: SecretStr | None) -> SecretStr | None:
        """The rest is checked when it is used, by what knows SQLAlchemy."""
        schemes = ("postgresql://", "postgres://", "postgresql+asyncpg://", "sqlite:///")
        if value is not None and not value.get_secret_value().startswith(schemes):
            raise ValueError("must start with 'postgresql://' or 'sqlite:///'")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_of_redis(cls, value: SecretStr | None) -> SecretStr | None:
        schemes = ("redis://", "rediss://", "unix://")
        if value is not None and not value.get_secret_value().startswith(schemes):
            raise ValueError("must start with 'redis://', 'rediss://' or 'unix://'")
        return value

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        _ = self.secret_keys
        return self

    @property
    def secret_keys(self) -> tuple[bytes, ...]:
        """The keys of `secrets_key_file`. Raises ValueError where the file is not valid."""
        if self.secrets_key_file is None:
            return ()
        try:
            lines = self.secrets_key_file.read_text().split()
            keys = tuple(base64.b64decode(line, validate=True) for line in lines)
        except (OSError, ValueError) as error:
            # the text of a key must not be in the message
            why = error.strerror if isinstance(error, OSError) else "a line is not base64"
            raise ValueError(f"secrets_key_file: {self.secrets_key_file}: {why}") from None
        if not keys or {len(one) for one in keys} != {32}:
            text = "must have a line of 32 bytes in base64 for each key"
            raise ValueError(f"secrets_key_file: {self.secrets_key_file}: {text}")
        return keys

    @property
    def redis(self) -> str | None:
        """`redis_url` in the clear."""
        return None if self.redis_url is None else self.redis_url.get_secret_value()

    @property
    def url(self) -> str | None:
        """`database_url` in the clear."""
        return None if self.database_url is None else self.database_url.get_secret_value()
