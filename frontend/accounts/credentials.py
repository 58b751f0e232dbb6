"""Keys as text: `tt-<public id>-<secret>`. Pure.

The secret has 256 random bits, so its SHA-256 is enough to recognize it. The public id finds the
record without a search and may be shown; the digest is compared in constant time.
"""

import hashlib
import re
from dataclasses import dataclass

_FORM = re.compile(rb"tt-([a-z0-9]{16})-([0-9A-Za-z]{43})")
_MAX_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Credential:
    """A key that a request presents: where to look for it, and what its record must hold."""

    public_id: str
    digest: str


def digest_of(secret: bytes) -> str:
    """What is stored of a key."""
    return f"sha256:{hashlib.sha256(secret).hexdigest()}"


def parse_key(secret: bytes) -> Credential | None:
    """Where to look for a key; None for a text that cannot be a key."""
    if not secret or len(secret) > _MAX_LENGTH:
        return None
    digest = digest_of(secret)
    if match := _FORM.fullmatch(secret):
        return Credential(match[1].decode(), digest)
    return Credential(public_id_of(digest), digest)


def public_id_of(digest: str) -> str:
    """The public id of a key from a key file: its text does not contain one."""
    return f"f-{digest.removeprefix('sha256:')[:14]}"
