"""Codes of six digits that change every 30 seconds: RFC 6238 with SHA-1. Pure.

It also makes the QR code for an app, and recovery codes.
"""

import base64
import hashlib
import hmac
import secrets
from urllib.parse import quote, urlencode

STEP_S, DIGITS, RECOVERY_CODES = 30, 6, 10
_AROUND = 1
"""Steps before and after this one that are accepted: clocks differ, and typing takes a while."""


def new_secret() -> bytes:
    """160 random bits, as many as SHA-1 has (RFC 4226, section 4)."""
    return secrets.token_bytes(20)


def code_at(secret: bytes, step: int) -> str:
    """The code of a step (RFC 4226, section 5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    at = digest[-1] & 15
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def match_step(secret: bytes, code: str, now_s: int, last_step: int) -> int | None:
    """The step that a code belongs to, after the last one that was used; None for a wrong code."""
    code = code.replace(" ", "")
    if not (len(code) == DIGITS and code.isascii() and code.isdigit()):
        return None
    now = now_s // STEP_S
    for step in range(max(now - _AROUND, last_step + 1), now + _AROUND + 1):
        if hmac.compare_digest(code_at(secret, step), code):
            return step
    return None


def spell(secret: bytes) -> str:
    """The secret as people type it into an app: base32."""
    return base64.b32encode(secret).decode()


def address_of(secret: bytes, name: str, place: str) -> str:
    """The URI in the QR code."""
    query = urlencode({"secret": spell(secret), "issuer": place}, quote_via=quote)
    return f"otpauth://totp/{quote(place, safe='')}:{quote(name, safe='')}?{query}"


def draw(address: str) -> str:
    """A QR code as the address of an SVG image, which holds it itself. Dark on light in any theme:
    cameras want that."""
    import segno  # noqa: PLC0415 - only where somebody sets an app up

    code = segno.make(address, error="m", micro=False)
    return code.svg_data_uri(scale=5, border=4, dark="#000", light="#fff", encode_minimal=False)


def new_recovery_codes() -> list[str]:
    """Ten codes of 80 random bits, for a lost telephone."""
    return [_grouped(secrets.token_bytes(10)) for _ in range(RECOVERY_CODES)]


def digest_of_recovery(code: str) -> bytes | None:
    """The digest of a recovery code, which is stored; None for a text that is not one."""
    plain = "".join(one for one in code.lower() if one not in " -")
    if len(plain) != 16 or not plain.isascii() or not plain.isalnum():
        return None
    return hashlib.sha256(plain.encode()).digest()


def _grouped(random: bytes) -> str:
    text = base64.b32encode(random).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, 16, 4))
