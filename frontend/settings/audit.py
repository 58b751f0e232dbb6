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
        description="What is kept of the requests of groups without a policy of their own: `none`,"
        " `metadata` (no text, only a digest), or `full` with prompts, answers and images.",
    )
    audit_strict: bool = Field(
        default=False,
        description="With `full`: refuse a request whose record could be lost (503).",
    )
    audit_days: int = Field(
        default=90, ge=1, le=36_500, description="Days until audit records are removed."
    )
    max_audit_records: int = Field(
        default=20_000, ge=1, description="Audit records that may wait to be written."
    )
    audit_s3_bucket: str = Field(
        default="",
        pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$",
        description="A bucket of S3 that gets the images and files of `full` records. Empty: they"
        " stay in the data directory. Needs `pip install 'triton-toolkit[s3]'`.",
    )
    audit_s3_endpoint: str = Field(
        default="", description="The URL of another store with S3's protocol. Default: Amazon's."
    )
    audit_s3_region: str = Field(
        default="",
        pattern=r"^[a-z0-9-]{0,40}$",
        description="Its region. Default: that of the environment (`AWS_REGION`).",
    )
    audit_s3_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._/-]{0,200}$",
        description="The beginning of the names of all objects, such as `audit/`.",
    )
    audit_s3_key_file: Path | None = Field(
        default=None,
        description="A file with `ACCESS_KEY_ID:SECRET_ACCESS_KEY`. Default: the credentials that"
        " other programs for AWS use: variables, a profile, or the machine's role.",
    )
    audit_s3_ca_file: Path | None = Field(
        default=None, description="Certificates that an endpoint with `https:` is checked against."
    )
    audit_s3_timeout_s: float = Field(
        default=10, gt=0, le=300, description="Seconds that the bucket may take for an object."
    )
    max_audit_waiting_bytes: int = Field(
        default=2 * 2**30,
        ge=2**20,
        description="Bytes of images and files on disk that may wait for the bucket.",
    )
    max_audit_bytes: int = Field(
        default=128 * 2**20,
        ge=1024,
        description="Bytes of prompts, answers and images that may wait to be written.",
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
