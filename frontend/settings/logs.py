"""Where log lines are written, and what may be in them."""

import re
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from frontend.settings.checks import check_file, check_url
from frontend.settings.group import Group


class LogSettings(Group):
    """The log. Each sink that is named gets every line."""

    log_level: str = Field(
        default="info",
        pattern="^(debug|info|warning|error)$",
        description="Lowest level that is logged.",
    )
    log_format: str = Field(
        default="text",
        pattern="^(text|json)$",
        description="Format of log lines on stderr or stdout: `text`, or `json` with one object"
        " per line. All other sinks get JSON.",
    )
    log_to: str = Field(
        default="stderr",
        pattern="^(stderr|stdout|none)$",
        description="Stream that log lines are written to, or `none`.",
    )
    log_upstream_errors: bool = Field(
        default=False,
        description="Log the text of upstreams' errors, which may quote prompts.",
    )
    log_file: Path | None = Field(
        default=None, description="File for log lines as JSON; each gateway needs its own."
    )
    log_file_bytes: int = Field(
        default=100 * 2**20, ge=4096, description="Size in bytes at which the file is rotated."
    )
    log_file_kept: int = Field(
        default=5,
        ge=0,
        le=1000,
        description="Number of rotated files that are kept: `FILE.1`, `FILE.2`, ...",
    )
    log_elastic_url: str = Field(
        default="",
        description="Elasticsearch or OpenSearch for log lines: `https://HOST:9200`.",
    )
    log_elastic_index: str = Field(
        default="triton-gateway",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,200}$",
        description="Index or data stream in Elasticsearch.",
    )
    log_elastic_token: SecretStr | None = Field(
        default=None, description="Encoded API key of Elasticsearch, or `USER:PASSWORD`."
    )
    log_elastic_token_file: Path | None = Field(default=None, description="A file that has it.")
    log_splunk_url: str = Field(
        default="", description="Splunk's HTTP event collector: `https://HOST:8088`."
    )
    log_splunk_index: str = Field(
        default="", description="Index in Splunk. Default: that of the token."
    )
    log_splunk_token: SecretStr | None = Field(default=None, description="Its token.")
    log_splunk_token_file: Path | None = Field(default=None, description="A file that has it.")
    log_loki_url: str = Field(default="", description="Grafana Loki: `http://HOST:3100`.")
    log_loki_tenant: str = Field(
        default="", pattern=r"^[!-~]{0,150}$", description="Tenant in Loki (`X-Scope-OrgID`)."
    )
    log_loki_token: SecretStr | None = Field(
        default=None, description="Bearer token of Loki, or `USER:PASSWORD`."
    )
    log_loki_token_file: Path | None = Field(default=None, description="A file that has it.")
    log_ca_file: Path | None = Field(
        default=None, description="File of CA certificates for sinks with `https:`."
    )
    log_timeout_s: float = Field(
        default=10, gt=0, le=300, description="Timeout of a batch of lines in seconds."
    )
    log_waiting_lines: int = Field(
        default=20_000,
        ge=1,
        description="Maximum number of lines that wait in memory, for each sink.",
    )
    log_spool_bytes: int = Field(
        default=256 * 2**20,
        ge=65_536,
        description="Maximum size in bytes of the lines that wait on disk, for each of"
        " Elasticsearch, Splunk and Loki.",
    )

    @field_validator("log_elastic_url", "log_splunk_url", "log_loki_url")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        return check_url(url)

    @field_validator("log_ca_file")
    @classmethod
    def _exists(cls, file: Path | None) -> Path | None:
        return check_file(file)

    @field_validator("log_elastic_token_file", "log_splunk_token_file", "log_loki_token_file")
    @classmethod
    def _has_a_token(cls, file: Path | None) -> Path | None:
        if file is not None:
            _token_in(file)
        return file

    def token(self, sink: str) -> str:
        """The token of `elastic`, `splunk` or `loki`; empty: there is none."""
        file, given = {
            "elastic": (self.log_elastic_token_file, self.log_elastic_token),
            "splunk": (self.log_splunk_token_file, self.log_splunk_token),
            "loki": (self.log_loki_token_file, self.log_loki_token),
        }[sink]
        if file is not None:
            return _token_in(file)
        return "" if given is None else given.get_secret_value().strip()


def _token_in(file: Path) -> str:
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise ValueError(f"'{file}' cannot be read: {reason}") from None
    if not re.fullmatch(r"[!-~]+", token):
        raise ValueError(f"'{file}' does not contain one token in one line")
    return token
