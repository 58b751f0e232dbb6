"""Renders accounts as JSON. Instants are seconds since 1970."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from frontend.domain.accounts import (
    AdminEvent,
    Group,
    Key,
    KeyRequest,
    Organisation,
    StoredRole,
    User,
)

Shown = dict[str, Any]
_US = 1_000_000


def at_s(instant_us: int | None) -> int | None:
    """An instant in seconds since 1970."""
    return None if instant_us is None else instant_us // _US


def show_organisation(one: Organisation) -> Shown:
    """An organisation."""
    return {
        "id": one.id,
        "object": "organisation",
        "name": one.name,
        "created_at": at_s(one.created_at_us),
        "disabled": one.disabled_at_us is not None,
    }


def show_group(one: Group) -> Shown:
    """A group."""
    return {
        "id": one.id,
        "object": "group",
        "organisation_id": one.organisation_id,
        "name": one.name,
        "weight": one.weight,
        "audit": one.audit,
        "audit_strict": one.audit_strict,
        "audit_days": one.audit_days,
        "upstreams": one.upstreams,
        "created_at": at_s(one.created_at_us),
        "disabled": one.disabled_at_us is not None,
    }


def show_user(one: User) -> Shown:
    """A user, without the password."""
    return {
        "id": one.id,
        "object": "user",
        "group_id": one.group_id,
        "role": one.role,
        "name": one.name,
        "display_name": one.display_name,
        "email": one.email,
        "created_at": at_s(one.created_at_us),
        "disabled": one.disabled_at_us is not None,
    }


def show_role(one: StoredRole) -> Shown:
    """A role."""
    return {
        "id": one.name,
        "object": "role",
        "name": one.name,
        "weight": one.weight,
        "permissions": one.permissions,
        "built_in": one.built_in,
    }


def show_key(one: Key) -> Shown:
    """A key, by its public id."""
    return {
        "id": one.id,
        "object": "key",
        "user_id": one.user_id,
        "name": one.name,
        "models": one.models,
        "endpoints": one.endpoints,
        "networks": one.networks,
        "created_at": at_s(one.created_at_us),
        "expires_at": at_s(one.expires_at_us),
        "previous_ends_at": at_s(one.previous_ends_at_us),
        "last_used_at": at_s(one.last_used_at_us),
        "disabled": one.disabled_at_us is not None,
    }


def show_made_key(one: Key, text: str | None) -> Shown:
    """A key with its text, which is shown only once."""
    return {**show_key(one), "key": text}


def show_request(one: KeyRequest) -> Shown:
    """A request for a key, to administrators."""
    return {
        "id": one.id,
        "object": "key_request",
        "status": one.status,
        "name": one.name,
        "email": one.email,
        "reason": one.reason,
        "note": one.note,
        "key_id": one.key_id,
        "user_id": one.user_id,
        "created_at": at_s(one.created_at_us),
        "expires_at": at_s(one.expires_at_us),
        "decided_at": at_s(one.decided_at_us),
    }


def show_own_request(one: KeyRequest) -> Shown:
    """A request for a key, to its applicant."""
    shown = show_request(one)
    return {name: value for name, value in shown.items() if name not in ("user_id", "key_id")}


def show_event(one: AdminEvent) -> Shown:
    """A change of an account."""
    return {
        "id": one.id,
        "object": "event",
        "at": at_s(one.at_us),
        "actor_id": one.actor_id,
        "actor_name": one.actor_name,
        "action": one.action,
        "target_kind": one.target_kind,
        "target_id": one.target_id,
        "details": one.details,
        "before": one.before,
        "after": one.after,
        "number": one.number,
        "request_id": one.request_id,
        "address": one.address,
    }


def render(shown: Shown) -> bytes:
    """One object."""
    return orjson.dumps(shown)


def render_page(rows: Sequence[Any], limit: int, show: Callable[[Any], Shown]) -> bytes:
    """Renders at most `limit` of the rows; a further row means that there is a next page."""
    data = [show(row) for row in rows[:limit]]
    more = len(rows) > limit
    body = {"object": "list", "data": data, "has_more": more}
    return orjson.dumps({**body, "next_after": data[-1]["id"] if more else None})


def render_deleted(kind: str, deleted_id: str) -> bytes:
    """The answer of a deletion."""
    return orjson.dumps({"id": deleted_id, "object": kind, "deleted": True})
