"""Where traces are sent, and which requests have one."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from frontend.settings.checks import check_file, check_url
from frontend.settings.group import Group, parts


class TraceSettings(Group):
    """Traces for OpenTelemetry; off where no collector is named."""

    traces_url: str = Field(
        default="",
        description="OTLP collector for traces: `http://HOST:4318`; `/v1/traces` is added"
        " where the URL has no path. Empty: no traces.",
    )
    traces_headers: SecretStr | None = Field(
        default=None,
        description="Headers for the collector, as `NAME=VALUE,NAME=VALUE`, such as a token.",
    )
    traces_headers_file: Path | None = Field(
        default=None, description="File with these headers, one `NAME: VALUE` per line."
    )
    traces_ca_file: Path | None = Field(
        default=None, description="File of CA certificates for a collector with `https:`."
    )
    traces_service: str = Field(
        default="triton-gateway",
        pattern=r"^[ -~]{1,100}$",
        description="Name of the gateway in traces (`service.name`).",
    )
    traces_sampling: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Fraction of requests whose trace is recorded, unless the client decides it.",
    )
    traces_follow_clients: bool = Field(
        default=True,
        description="Let a client's `traceparent` decide whether its trace is recorded. Otherwise"
        " only `traces_sampling` decides.",
    )
    traces_text: bool = Field(
        default=False,
        description="Include prompts and answers in traces, only for groups whose audit policy"
        " is `full`.",
    )
    traces_waiting_spans: int = Field(
        default=8192,
        ge=512,
        le=1_000_000,
        description="Maximum number of spans that wait in memory.",
    )
    traces_timeout_s: float = Field(
        default=10, gt=0, le=300, description="Timeout of a batch of spans in seconds."
    )

    @field_validator("traces_url")
    @classmethod
    def _is_a_collector(cls, url: str) -> str:
        return check_url(url)

    @field_validator("traces_ca_file")
    @classmethod
    def _has_certificates(cls, file: Path | None) -> Path | None:
        return check_file(file)

    @field_validator("traces_headers")
    @classmethod
    def _are_headers(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            _headers_in(parts(given.get_secret_value()), "=")
        return given

    @field_validator("traces_headers_file")
    @classmethod
    def _has_headers(cls, file: Path | None) -> Path | None:
        if file is not None:
            _headers_of(file)
        return file

    @property
    def collector(self) -> tuple[str, dict[str, str]]:
        """The collector's whole URL, and the headers for it."""
        url = self.traces_url.rstrip("/")
        if not urlsplit(url).path:
            url += "/v1/traces"
        if self.traces_headers_file is not None:
            return url, _headers_of(self.traces_headers_file)
        if self.traces_headers is None:
            return url, {}
        return url, _headers_in(parts(self.traces_headers.get_secret_value()), "=")


def _headers_of(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise ValueError(f"'{file}' cannot be read: {reason}") from None
    return _headers_in([line for line in lines if line.strip()], ":")


def _headers_in(given: list[str], separator: str) -> dict[str, str]:
    headers = {}
    for number, one in enumerate(given, 1):
        name, found, value = one.partition(separator)
        name, value = name.strip().lower(), value.strip()
        if not (
            found and re.fullmatch(r"[a-z0-9-]{1,100}", name) and re.fullmatch(r"[ -~]+", value)
        ):
            # the header is not shown: it may hold a token
            raise ValueError(f"header {number} is not NAME{separator}VALUE")
        headers[name] = value
    return headers
