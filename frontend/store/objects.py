"""A bucket of S3, or of another store that speaks its protocol: the only place that knows boto3.

Contents are named by their SHA-256, which the store checks when it gets one and this module when it
reads one. Everything here blocks, for a bounded time. Neither errors nor logs contain credentials.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MAX_BYTES = 256 * 2**20
_ABSENT = ("404", "NoSuchKey", "NotFound")


class ObjectsUnavailable(Exception):
    """The bucket cannot be used now; says why in a few words of our own."""


class ObjectChanged(Exception):
    """An object does not have the content that its name says."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where contents are. `endpoint` of "": Amazon's own. `key`: the access key's id and secret;
    None: as other programs for AWS find theirs."""

    name: str
    endpoint: str = ""
    region: str = ""
    prefix: str = ""
    key: tuple[str, str] | None = field(default=None, repr=False)
    timeout_s: float = 10.0
    ca_file: Path | None = None


class Objects:
    """The contents of one bucket. Its methods may be called from any thread."""

    def __init__(self, bucket: Bucket) -> None:
        """Does not connect yet. Raises ImportError where boto3 is not installed."""
        # a third of a second that a gateway without a bucket does not need
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        self._bucket, self._errors, self._refusal = (
            bucket,
            (BotoCoreError, ClientError),
            ClientError,
        )
        identity, secret = bucket.key or (None, None)
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=bucket.endpoint or None,
            region_name=bucket.region or None,
            aws_access_key_id=identity,
            aws_secret_access_key=secret,
            verify=None if bucket.ca_file is None else str(bucket.ca_file),
            config=Config(
                connect_timeout=min(5.0, bucket.timeout_s),
                read_timeout=bucket.timeout_s,
                # the caller tries again by itself
                retries={"total_max_attempts": 1},
                # names of buckets are not names of hosts elsewhere
                s3={"addressing_style": "path" if bucket.endpoint else "auto"},
            ),
        )

    def put(self, digest: str, content: bytes) -> None:
        """Stores a content; to store it again changes nothing. Raises ObjectsUnavailable if the
        bucket does not answer."""
        checksum = base64.b64encode(bytes.fromhex(digest)).decode()
        self._call("put_object", digest, Body=content, ChecksumSHA256=checksum)

    def get(self, digest: str) -> bytes | None:
        """The content, or None if there is none. Raises ObjectsUnavailable if the bucket does not
        answer, and ObjectChanged if the content does not have the digest."""
        answer = self._call("get_object", digest)
        if answer is None:
            return None
        content = b""
        try:
            if answer["ContentLength"] <= _MAX_BYTES:
                content = answer["Body"].read()
        except self._errors as error:
            raise ObjectsUnavailable(type(error).__name__) from None
        except OSError as error:  # of the connection
            raise ObjectsUnavailable(type(error).__name__) from None
        finally:
            answer["Body"].close()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ObjectChanged(digest)
        return bytes(content)

    def remove(self, digest: str) -> bool:
        """Removes a content; whether there was one. Raises ObjectsUnavailable if the bucket does
        not answer."""
        if self._call("head_object", digest) is None:
            return False
        self._call("delete_object", digest)
        return True

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _call(self, method: str, digest: str, **more: Any) -> Any:
        """The answer; None where there is no such object."""
        place = {"Bucket": self._bucket.name, "Key": f"{self._bucket.prefix}{digest[:2]}/{digest}"}
        try:
            return getattr(self._client, method)(**place, **more)
        except self._refusal as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _ABSENT and method != "put_object":
                return None
            # only the code: the text may have names of accounts
            raise ObjectsUnavailable(code[:60] or type(error).__name__) from None
        except self._errors as error:
            # its text has the URL
            raise ObjectsUnavailable(type(error).__name__) from None
