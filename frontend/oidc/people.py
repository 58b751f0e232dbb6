"""Whose account an identity of the provider is, and what its groups there mean here.

An identity is an issuer and a subject, never an e-mail address: addresses change hands. One that is
linked stays so, also when its name or address changes. It does not know how a token is checked.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.users import NewUser, Users, add_user
from frontend.accounts.roles import DEFAULT_ROLE
from frontend.domain.accounts import User
from frontend.domain.identity import Permission
from frontend.errors import Conflict, Forbidden, InvalidRequest
from frontend.store import accounts as store
from frontend.store.identities import add_identity, find_identity
from frontend.store.records import Rows

_log = logging.getLogger(__name__)
_ACTOR = Actor("oidc", "sign-in provider", frozenset(Permission))
_MAX_GROUPS = 1000
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._@-]+")


class Link(Enum):
    """When an identity that is new is linked to an account that exists."""

    NEVER = "never"
    SIGNED_IN = "signed-in"
    """By its owner, who is signed in with the password while they go to the provider."""
    VERIFIED_EMAIL = "verified-email"
    """Also where the provider says that it has verified the account's e-mail address."""


@dataclass(frozen=True, slots=True)
class Place:
    """The role and the group that a group of the provider gives. `group` of "": the group stays as
    it is."""

    role: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say. `places` by the provider's groups, the first match wins."""

    create: bool
    link: Link
    places: Mapping[str, Place]
    role: str = DEFAULT_ROLE
    name_claim: str = "preferred_username"
    email_claim: str = "email"
    groups_claim: str = "groups"


@dataclass(frozen=True, slots=True)
class People:
    """Finds, links and creates the accounts of identities."""

    users: Users
    rules: Rules

    async def resolve(self, issuer: str, claims: Mapping[str, Any], signed_in: str) -> User:
        """The account of who has signed in. `signed_in`: the user of the browser's session, or "".

        Raises Forbidden where nobody may sign in with this identity.
        """
        subject, place = str(claims["sub"]), self._place(claims)
        async with self.users.changes.database.connect() as rows:
            group_id = await self._group_id(rows, place)
            known = await find_identity(rows, issuer, subject)
            user = None if known is None else await store.USERS.find(rows, known)
        if known is None:
            user = await self._add(issuer, claims, NewUser("", place.role, group_id), signed_in)
        if user is None or user.disabled_at_us is not None:
            raise Forbidden("this account is disabled or was deleted", code="sign_in_failed")
        return await self._move(user, place, group_id)

    async def _add(
        self, issuer: str, claims: Mapping[str, Any], new: NewUser, signed_in: str
    ) -> User | None:
        """Links an identity that is not known yet to an account that exists, or to a new one."""
        subject = str(claims["sub"])
        async with self.users.changes.begin(_ACTOR, "users.link_identity") as change:
            rows, how = change.connection, "linked"
            # again, now that this is the only change: another sign-in may have been first
            if (known := await find_identity(rows, issuer, subject)) is not None:
                return await store.USERS.find(rows, known)
            user = await self._match(rows, claims, signed_in)
            if user is None:
                new, how = await self._named(rows, subject, claims, new), "created"
                user = await store.USERS.find(rows, await add_user(change, _ACTOR, new))
            if user is not None:
                await add_identity(rows, (issuer, subject), user.id, change.now_us)
                change.note("user", user.id, issuer=issuer, subject=subject, how=how)
            return user

    async def _match(self, rows: Rows, claims: Mapping[str, Any], signed_in: str) -> User | None:
        """The account that exists and is linked now. Raises Forbidden where there may be none."""
        link, email = self.rules.link, self._text(claims, self.rules.email_claim)
        if signed_in and link is not Link.NEVER:
            return await store.USERS.find(rows, signed_in)
        found = await store.user_of_email(rows, email) if email else None
        owner = await store.USERS.find(rows, found) if found else None
        if owner is not None:
            if link is Link.VERIFIED_EMAIL and claims.get("email_verified") is True:
                return owner
            text = "an account with this e-mail address exists; sign in with its password"
            if link is Link.SIGNED_IN:
                text += ", then go to the provider again to link it"
            raise Forbidden(text, code="identity_not_linked")
        if not self.rules.create:
            text = "there is no account for you here yet; ask an administrator for one"
            raise Forbidden(text, code="identity_unknown")
        return None

    async def _named(
        self, rows: Rows, subject: str, claims: Mapping[str, Any], new: NewUser
    ) -> NewUser:
        email = self._text(claims, self.rules.email_claim)
        given = self._text(claims, self.rules.name_claim) or email.partition("@")[0]
        name = _NOT_IN_NAMES.sub("-", given)[:80].strip("-.") or "user"
        if await store.USERS.find_by(rows, name=name) is not None:
            name += "-" + hashlib.sha256(subject.encode()).hexdigest()[:8]
        shown = self._text(claims, "name")[:100]
        verified = email if claims.get("email_verified") is True else ""
        named = replace(new, name=name, display_name=shown, email=verified or None)
        try:
            named.check()
        except InvalidRequest:
            # an address or a name that is not valid here is not worth a refusal
            named = replace(new, name=f"user-{hashlib.sha256(subject.encode()).hexdigest()[:8]}")
        return named

    async def _move(self, user: User, place: Place, group_id: str | None) -> User:
        """Gives a user the role and group of the provider, where it decides about them."""
        values: dict[str, Any] = {}
        if self.rules.places and user.role != place.role:
            values["role"] = place.role
        if group_id is not None and user.group_id != group_id:
            values["group_id"] = group_id
        if not values:
            return user
        try:
            return await self.users.edit(_ACTOR, user.id, values)
        except Conflict as error:  # the last administrator stays one
            _log.warning("the provider's groups were not applied to user %s: %s", user.id, error)
            return user

    async def _group_id(self, rows: Rows, place: Place) -> str | None:
        if not place.group:
            return None
        group = await store.GROUPS.find_by(rows, name=place.group)
        if group is None:
            _log.warning("oidc_groups names the group '%s', which does not exist", place.group)
        return None if group is None else group.id

    def _place(self, claims: Mapping[str, Any]) -> Place:
        given = claims.get(self.rules.groups_claim, [])
        groups = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        named = {one for one in groups[:_MAX_GROUPS] if isinstance(one, str)}
        for group, place in self.rules.places.items():
            if group in named:
                return place
        return Place(self.rules.role)

    @staticmethod
    def _text(claims: Mapping[str, Any], name: str) -> str:
        value = claims.get(name)
        return value.strip()[:254] if isinstance(value, str) else ""
