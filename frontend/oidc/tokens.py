"""Checks an ID token: signature, issuer, audience, nonce and times. Pure.

OpenID Connect Core 1.0, section 3.1.3.7. It only accepts signatures with a public key: with "none"
or an HMAC, everybody who knows public values could sign.
"""

from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from frontend.errors import Forbidden

_ALGORITHMS = [f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)]
_MAX_TOKEN = 32_768


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say. `leeway_s`: how far the clocks may differ."""

    issuer: str
    client_id: str
    nonce: str
    leeway_s: int
    now_s: int


def check_id_token(text: str, keys: KeySet, expected: Expected) -> dict[str, Any]:
    """The claims of a token. Raises Forbidden for a token that is not valid, and ValueError if no
    key fits and others may."""
    if len(text) > _MAX_TOKEN:
        raise refused("its ID token is too large")
    try:
        token = jwt.decode(text, keys, algorithms=_ALGORITHMS)
    except ValueError:
        raise
    except JoseError as error:
        # after a rotation the key may be one that was not read yet
        raise ValueError(f"its signature is not valid: {type(error).__name__}") from None
    claims = token.claims
    registry = jwt.JWTClaimsRegistry(
        now=expected.now_s,
        leeway=expected.leeway_s,
        iss={"essential": True, "value": expected.issuer},
        aud={"essential": True, "value": expected.client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": expected.nonce},
    )
    try:
        registry.validate(claims)
    except JoseError as error:
        raise refused(f"its ID token is not valid: {error}"[:200]) from None
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (several or "azp" in claims) and claims.get("azp") != expected.client_id:
        raise refused("its ID token was issued to another client")
    if not isinstance(claims["sub"], str) or not 1 <= len(claims["sub"]) <= 255:
        raise refused("its ID token does not name a subject")
    return dict(claims)


def refused(why: str) -> Forbidden:
    """The error of a sign-in that the gateway does not accept."""
    return Forbidden(f"the answer of the sign-in provider was refused: {why}", code="oidc_refused")
