"""What the audit keeps, for how long, and how much of it may wait in memory."""

import re
from importlib.util import find_spec
from pathlib import Path

from pydantic import Field, field_validator

from frontend.settings.checks import check_file, check_url
from frontend.settings.group import Group


class AuditSettings(Group):
    """The audit of requests."""

    audit: str = Field(
        default="metadata",
        pattern="^(none|metadata|full)$",
        description="What the audit keeps about requests of groups without their own policy:"
        " `none`,"
        " `metadata` (a digest instead of texts), or `full` (prompts, answers and images).",
    )
    audit_strict: bool = Field(
        default=False,
        description="With `full`: refuse a request with status 503 if its record could be lost.",
    )
    audit_days: int = Field(
        default=90, ge=1, le=36_500, description="Days until audit records are removed."
    )
    max_audit_records: int = Field(
        default=20_000, ge=1, description="Maximum number of audit records that wait to be written."
    )
    audit_s3_bucket: str = Field(
        default="",
        pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$",
        description="S3 bucket for the images and files of `full` records. Empty: they stay in the"
        " data directory. Requires `pip install 'triton-toolkit[s3]'`.",
    )
    audit_s3_endpoint: str = Field(
        default="", description="URL of another S3-compatible store. Default: Amazon S3."
    )
    audit_s3_region: str = Field(
        default="",
        pattern=r"^[a-z0-9-]{0,40}$",
        description="Region of the bucket. Default: `AWS_REGION`.",
    )
    audit_s3_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._/-]{0,200}$",
        description="Prefix of the names of all objects, such as `audit/`.",
    )
    audit_s3_key_file: Path | None = Field(
        default=None,
        description="File with `ACCESS_KEY_ID:SECRET_ACCESS_KEY`. Default: AWS's usual sources of"
        " credentials: environment variables, a profile, or the machine's role.",
    )
    audit_s3_ca_file: Path | None = Field(
        default=None, description="File of CA certificates for an endpoint with `https:`."
    )
    audit_s3_timeout_s: float = Field(
        default=10, gt=0, le=300, description="Timeout of the upload of one object in seconds."
    )
    max_audit_waiting_bytes: int = Field(
        default=2 * 2**30,
        ge=2**20,
        description="Maximum size in bytes of the images and files on disk that wait for the"
        " bucket.",
    )
    max_audit_bytes: int = Field(
        default=128 * 2**20,
        ge=1024,
        description="Maximum size in bytes of the prompts, answers and images that wait to be"
        " written.",
    )

    @field_validator("audit_s3_bucket")
    @classmethod
    def _has_library(cls, bucket: str) -> str:
        if bucket and find_spec("boto3") is None:
            raise ValueError("boto3 is not installed: pip install 'triton-toolkit[s3]'")
        return bucket

    @field_validator("audit_s3_endpoint")
    @classmethod
    def _is_an_endpoint(cls, url: str) -> str:
        return check_url(url)

    @field_validator("audit_s3_key_file")
    @classmethod
    def _has_an_access_key(cls, file: Path | None) -> Path | None:
        if file is not None:
            _key_in(file)
        return file

    @field_validator("audit_s3_ca_file")
    @classmethod
    def _is_a_file(cls, file: Path | None) -> Path | None:
        return check_file(file)

    @property
    def audit_s3_key(self) -> tuple[str, str] | None:
        """The id and the secret of the access key, where a file has them."""
        return None if self.audit_s3_key_file is None else _key_in(self.audit_s3_key_file)


def _key_in(file: Path) -> tuple[str, str]:
    try:
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise ValueError(f"'{file}' cannot be read: {reason}") from None
    identity, _, secret = text.partition(":")
    if not (re.fullmatch(r"[!-~]+", identity) and re.fullmatch(r"[!-~]+", secret)):
        # what is in it is not shown
        raise ValueError(f"'{file}' does not contain ACCESS_KEY_ID:SECRET_ACCESS_KEY in one line")
    return identity, secret
