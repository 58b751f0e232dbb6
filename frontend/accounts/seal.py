"""Encrypts secrets in the database with AES-256-GCM.

The first key encrypts, and every key decrypts, so that keys can be replaced while gateways run. The
owner is authenticated with the secret, so a row cannot be copied to another user. Without keys of
the operator a key in the database is used, which does not protect against readers of the database.
"""

import hashlib
import logging
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from frontend.errors import StoreUnavailable
from frontend.store.database import Database
from frontend.store.factors import read_secrets, replace_secret
from frontend.store.secrets import shared_secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MARK = b"sealed1"
_KEY_ID, _NONCE, _TAG = 4, 12, 16
_SHORTEST = len(_MARK) + _KEY_ID + _NONCE + _TAG
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Seal:
    """The keys of one gateway. `given` are 32 bytes each."""

    database: Database
    given: tuple[bytes, ...] = ()
    _keys: dict[bytes, bytes] = field(default_factory=dict)

    async def close(self, owner: str, secret: bytes) -> bytes:
        """Encrypts a secret. Raises StoreUnavailable if the keys cannot be read."""
        key_id, key = next(iter((await self._all()).items()))
        nonce = secrets.token_bytes(_NONCE)
        return _MARK + key_id + nonce + _cipher(key).encrypt(nonce, secret, owner.encode())

    async def open(self, owner: str, stored: bytes) -> bytes:
        """Decrypts a secret, also a plain one of an older release. Raises StoreUnavailable if its
        key is missing or it was changed."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as `_cipher`

        if not _is_sealed(stored):
            return stored
        key_id, rest = _split(stored)
        key = (await self._all()).get(key_id)
        if key is None:
            _log.error("a secret of user %s is encrypted with a key that is missing", owner)
            raise StoreUnavailable("a key is missing in the file of the setting 'secrets_key_file'")
        try:
            return _cipher(key).decrypt(rest[:_NONCE], rest[_NONCE:], owner.encode())
        except InvalidTag:
            _log.error("the stored secret of user %s was changed", owner)
            raise StoreUnavailable(f"the stored secret of user {owner} was changed") from None

    async def renew(self) -> int:
        """Encrypts what is not encrypted with the first key; how many. At each start."""
        first, renewed = next(iter(await self._all())), 0
        async with self.database.connect() as rows:
            stored = await read_secrets(rows)
        for owner, old in stored:
            if _is_sealed(old) and _split(old)[0] == first:
                continue
            try:
                new = await self.close(owner, await self.open(owner, old))
            except StoreUnavailable:
                continue  # it is in the log; its user can use a recovery code
            async with self.database.begin() as rows:
                renewed += await replace_secret(rows, owner, old, new)
        return renewed

    async def _all(self) -> dict[bytes, bytes]:
        if not self._keys:
            own = await shared_secret(self.database, "factors")
            keys = [*self.given, own]
            self._keys = {hashlib.sha256(key).digest()[:_KEY_ID]: key for key in keys}
        return self._keys


def _is_sealed(stored: bytes) -> bool:
    # secrets of apps have 20 random bytes, fewer than whatever is sealed
    return stored.startswith(_MARK) and len(stored) > _SHORTEST


def _split(stored: bytes) -> tuple[bytes, bytes]:
    rest = stored[len(_MARK) :]
    return rest[:_KEY_ID], rest[_KEY_ID:]


def _cipher(key: bytes) -> "AESGCM":
    # 40 ms to import, for gateways where nobody has a second factor
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(key)
