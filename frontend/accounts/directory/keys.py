"""Creates, edits, rotates and deletes keys. The text of a key is only returned by the request that
makes it: its digest is stored. A key never allows more than the key that made it.
"""

from dataclasses import dataclass, field
from typing import Any

from frontend.accounts.credentials import (
    Credential,
    derive_key,
    digest_of,
    is_same,
    new_key,
    new_public_id,
)
from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Change, Changes
from frontend.accounts.directory.groups import disabled
from frontend.accounts.directory.quotas import add_quota
from frontend.accounts.directory.rules import check_quotas, check_text, exists, find_user
from frontend.accounts.limits import Measure
from frontend.accounts.limits import Scope as Whose
from frontend.accounts.scopes import covers, make_scope
from frontend.domain.accounts import Key
from frontend.domain.allowances import NewQuota
from frontend.domain.identity import Scope
from frontend.errors import Conflict, Forbidden, InvalidRequest
from frontend.store import accounts as store
from frontend.store.records import Range, Rows

MAX_KEYS = 100
MAX_REPLACED = 8
"""Texts of a key that were replaced and still work."""
_SCOPE = ("models", "endpoints", "networks")


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens that a key may use in each period."""

    tokens: int
    period: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """The fields of a new key. The scopes are lists of texts; None means no limit."""

    name: str = ""
    models: list[str] | None = None
    endpoints: list[str] | None = None
    networks: list[str] | None = None
    expires_at_us: int | None = None
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key and its text; None if it was made earlier and cannot be shown again."""

    key: Key
    text: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """Creates, edits, rotates and deletes keys. `owner` limits a call to the keys of one user."""

    changes: Changes

    async def page(self, range_: Range, **filters: str) -> list[Key]:
        """One page. `filters`: `user_id`."""
        async with self.changes.database.connect() as rows:
            return await store.KEYS.page(rows, range_, **filters)

    async def get(self, key_id: str, owner: str | None = None) -> Key:
        """The key of an id. Raises NotFound if there is none, or if it is not the owner's."""
        async with self.changes.database.connect() as rows:
            return await find_key(rows, key_id, owner)

    async def create(self, actor: Actor, user_id: str, new: NewKey) -> MadeKey:
        """Creates a key of a user, and returns it with its secret.

        Raises InvalidRequest for a value that is not allowed, Forbidden for a key that would allow
        more than the actor may, Conflict if the user has too many keys.
        """
        # before the transaction, for which all other changes wait
        check_new(actor, new, self.changes.now_us())
        async with self.changes.begin(actor, "keys.create") as change:
            if change.kept is not None:
                return await _made_earlier(change, actor)
            await check_quotas(change.connection, actor, change.now_us)
            await find_user(change.connection, actor, user_id, "user_id")
            public_id = new_public_id()
            text, nonce = _new_text(actor, public_id)
            await add_key(
                change, actor, user_id, new, Credential(public_id, digest_of(text.encode()))
            )
            change.answer["nonce"] = nonce
            change.note("key", public_id, user_id=user_id, name=new.name)
            return MadeKey(await find_key(change.connection, public_id), text)

    async def edit(
        self, actor: Actor, key_id: str, values: dict[str, Any], owner: str | None = None
    ) -> Key:
        """Changes what `values` has of `name`, `models`, `endpoints`, `networks`, `expires_at_us`
        and `disabled`.

        Raises NotFound if the key does not exist or belongs to somebody else, Forbidden if it would
        allow more than the actor's own key, and InvalidRequest if a value is not valid.
        """
        async with self.changes.begin(actor, "keys.edit") as change:
            rows = change.connection
            key = await self._own(change, actor, key_id, owner)
            if owner is not None and values.get("disabled") is False and key.disabled_at_us:
                raise Forbidden("only an administrator can enable a disabled key again")
            scope = {name: values.get(name, getattr(key, name)) for name in _SCOPE}
            expires_at_us = values.get("expires_at_us", key.expires_at_us)
            if values.keys() & {*_SCOPE, "expires_at_us"}:
                new = NewKey(values.get("name", key.name), **scope, expires_at_us=expires_at_us)
                check_new(actor, new, change.now_us)
            check_text("name", values.get("name", ""), 64)
            await store.KEYS.update(rows, key_id, **disabled(values, change.now_us))
            change.note("key", key_id, **values)
            return await find_key(rows, key_id)

    async def rotate(
        self, actor: Actor, key_id: str, grace_s: int, owner: str | None = None
    ) -> MadeKey:
        """Makes a new text for the same public id; older ones work for at most `grace_s` seconds.

        Raises NotFound if the key does not exist, Forbidden if it allows more than the actor's own
        key, and Conflict if it has expired or is disabled.
        """
        async with self.changes.begin(actor, "keys.rotate") as change:
            if change.kept is not None:
                # the answer holds the text of the key, so it must be the caller's own
                await find_key(change.connection, key_id, owner)
                return await _made_earlier(change, actor)
            rows = change.connection
            key = await self._own(change, actor, key_id, owner)
            if key.disabled_at_us or (key.expires_at_us or change.now_us + 1) <= change.now_us:
                raise Conflict("the key has expired or is disabled; create another one")
            check_covers(actor, scope_of(key), key.expires_at_us)
            if key_id != actor.key:
                await check_quotas(rows, actor, change.now_us)
            ends_us = change.now_us + grace_s * 1_000_000
            earlier = await _still_working(change, key_id, ends_us)
            text, nonce = _new_text(actor, key_id)
            await store.KEYS.update(
                rows,
                key_id,
                digest=digest_of(text.encode()),
                previous_digest=await store.digest_of_key(rows, key_id),
                previous_ends_at_us=ends_us,
                earlier_digests=earlier or None,
            )
            change.answer["nonce"] = nonce
            change.note("key", key_id, grace_s=grace_s)
            return MadeKey(await find_key(rows, key_id), text)

    async def delete(self, actor: Actor, key_id: str, owner: str | None = None) -> None:
        """Deletes a key; its usage is kept. Raises NotFound if the key does not exist, and
        Forbidden if its owner has more rights than the actor."""
        async with self.changes.begin(actor, "keys.delete") as change:
            key = await self._own(change, actor, key_id, owner)
            await store.KEYS.delete(change.connection, [key_id], change.now_us)
            change.note("key", key_id, user_id=key.user_id, name=key.name)

    async def _own(self, change: Change, actor: Actor, key_id: str, owner: str | None) -> Key:
        key = await find_key(change.connection, key_id, owner)
        await find_user(change.connection, actor, key.user_id)
        return key


def check_new(actor: Actor, new: NewKey, now_us: int) -> None:
    """Raises InvalidRequest if a value is not valid, and Forbidden for more than the actor's own
    key allows."""
    check_text("name", new.name, 64)
    if new.expires_at_us is not None and new.expires_at_us <= now_us:
        raise InvalidRequest("'expires_at' must be in the future", param="expires_at")
    try:
        scope = make_scope(new.models, new.endpoints, new.networks)
    except ValueError as error:
        raise InvalidRequest(str(error), param=str(error).split("'")[1]) from None
    check_covers(actor, scope, new.expires_at_us)


def check_covers(actor: Actor, scope: Scope, expires_at_us: int | None) -> None:
    """Raises Forbidden if a key would allow more than the key that the actor presented."""
    if not covers(actor.scope, scope):
        raise Forbidden("a key with a scope can only manage keys within that scope")
    ends_us = actor.expires_at_us
    if ends_us is not None and (expires_at_us is None or expires_at_us > ends_us):
        raise Forbidden("a key that expires can only manage keys that expire no later")


async def add_key(
    change: Change, actor: Actor, user_id: str, new: NewKey, credential: Credential
) -> None:
    """Adds the key and its budget. Raises InvalidRequest if a value is not valid, and Conflict if
    the user has too many keys."""
    if len(await store.KEYS.ids(change.connection, user_id=user_id)) >= MAX_KEYS:
        raise Conflict(
            f"the user already has {MAX_KEYS} keys, which is the maximum; delete one first"
        )
    await store.KEYS.insert(
        change.connection,
        id=credential.public_id,
        user_id=user_id,
        name=new.name,
        digest=credential.digest,
        models=new.models,
        endpoints=new.endpoints,
        networks=new.networks,
        expires_at_us=new.expires_at_us,
        created_by=actor.id,
        created_at_us=change.now_us,
    )
    if new.budget is not None:
        await _add_budget(change, actor, credential.public_id, new.budget)


async def _add_budget(change: Change, actor: Actor, key_id: str, budget: Budget) -> None:
    """In the same transaction: a budget that is not valid makes no key."""
    quota = NewQuota(Whose.KEY, key_id, Measure.TOKENS, budget.period, budget.tokens)
    try:
        await add_quota(change, quota, actor)
    except InvalidRequest as error:
        error.rename({"amount": "budget.tokens", "period": "budget.period"})
        raise


def scope_of(key: Key) -> Scope:
    """A stored key's scope."""
    return make_scope(key.models, key.endpoints, key.networks)


async def _still_working(change: Change, key_id: str, ends_us: int) -> list[tuple[str, int]]:
    """The texts that were replaced before, none of them longer than until `ends_us`.

    A second rotation must not end what the first one promised; a short grace period, for a text
    that became known, ends all of them. Raises Conflict for too many.
    """
    found = await store.replaced_digests(change.connection, key_id, change.now_us)
    kept = [(digest, min(until_us, ends_us)) for digest, until_us in found]
    kept = [one for one in kept if one[1] > change.now_us]
    if len(kept) >= MAX_REPLACED:
        raise Conflict(
            f"{MAX_REPLACED} replaced texts of this key still work, which is the maximum; rotate"
            " with a 'grace_s' of 0 to end them, or wait"
        )
    return kept


def _new_text(actor: Actor, public_id: str) -> tuple[str, str]:
    """A new key, and the nonce with which a repeated request makes it again."""
    if not (actor.idempotency_key and actor.presented):
        return new_key(public_id), ""
    # twice 82 random bits
    nonce = new_public_id() + new_public_id()
    return derive_key(public_id, actor.presented, nonce.encode()), nonce


async def _made_earlier(change: Change, actor: Actor) -> MadeKey:
    """The key that the first request with this idempotency key created, if it is unchanged."""
    assert change.kept is not None
    key = await find_key(change.connection, change.kept["id"])
    text = derive_key(key.id, actor.presented, change.kept["nonce"].encode())
    digest = await store.digest_of_key(change.connection, key.id)
    return MadeKey(key, text if is_same(digest, digest_of(text.encode())) else None)


async def find_key(rows: Rows, key_id: str, owner: str | None = None) -> Key:
    """The key of an id. Raises NotFound if there is none, or if it is not the owner's."""
    key = await store.KEYS.find(rows, key_id)
    if key is not None and owner is not None and key.user_id != owner:
        key = None  # others' keys do not exist for this caller
    return exists(key, "key", key_id)
