"""Keys as text: `tt-<public id>-<secret>`. Pure.

The secret has 256 random bits, so its SHA-256 is enough to recognize it. The public id finds the
record without a search and may be shown; the digest is compared in constant time.
"""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass

PREFIX = "tt-"
DEFAULT_GRACE_S = 24 * 3600
"""How long a key continues working after it was replaced."""
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH = 43  # 62^43 > 2^256
_ID_ALPHABET = string.ascii_lowercase + string.digits
_ID_LENGTH = 16
_FORM = re.compile(rb"tt-([a-z0-9]{16})-([0-9A-Za-z]{43})")
_MAX_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Credential:
    """A key that a request presents: where to look for it, and what its record must hold."""

    public_id: str
    digest: bytes


def new_public_id() -> str:
    """A random public id of 82 bits, which makes collisions practically impossible."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))


def new_key(public_id: str) -> str:
    """A new key with this public id."""
    return _key(public_id, secrets.randbits(256))


def derive_key(public_id: str, presented: bytes, nonce: bytes) -> str:
    """The key that follows from a presented key and a stored nonce.

    A request that is repeated with the same idempotency key gets the same key again, although only
    its digest was stored: who reads the database does not have what the caller presented.
    """
    # the prefix keeps this use of the presented key apart from any other
    mac = hmac.digest(presented, b"key\0" + nonce + public_id.encode(), "sha256")
    return _key(public_id, int.from_bytes(mac))


def _key(public_id: str, number: int) -> str:
    """Writes the 256 bits in base 62: letters and digits survive a double click and a shell."""
    digits = []
    for _ in range(_SECRET_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return f"{PREFIX}{public_id}-{''.join(digits)}"


def digest_of(secret: bytes) -> bytes:
    """The digest of a key, which is stored instead of the key."""
    return hashlib.sha256(secret).digest()


def parse_key(secret: bytes) -> Credential | None:
    """Where to look for a key; None for a text that cannot be a key."""
    # hashing takes time in proportion to the length
    if not secret or len(secret) > _MAX_LENGTH:
        return None
    digest = digest_of(secret)
    if match := _FORM.fullmatch(secret):
        return Credential(match[1].decode(), digest)
    return Credential(public_id_of(digest), digest)


def public_id_of(digest: bytes) -> str:
    """The public id of a key from a key file: its text does not contain one."""
    return f"f{digest.hex()[:15]}"


def is_same(digest: bytes, other: bytes | None) -> bool:
    """Compares in a time that does not depend on where they differ."""
    return other is not None and hmac.compare_digest(digest, other)
