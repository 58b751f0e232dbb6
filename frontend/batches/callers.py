"""Stores the owner of a batch, which runs with the rights that the owner had when it was made.

Networks of a key's scope are left out: the request that made the batch was checked already.
"""

from dataclasses import asdict, replace
from typing import Any

from frontend.domain.audit import AuditLevel, AuditPolicy
from frontend.domain.identity import Caller, Permission, Role, Scope


def write_caller(caller: Caller) -> dict[str, Any]:
    """Converts a caller to JSON."""
    written = asdict(replace(caller, scope=replace(caller.scope, networks=None)))
    written["role"]["permissions"] = sorted(one.value for one in caller.role.permissions)
    return written


def read_caller(written: dict[str, Any]) -> Caller:
    """The opposite of `write_caller`."""
    role, scope = dict(written["role"]), written["scope"]
    permissions = frozenset(Permission(one) for one in role.pop("permissions"))
    models, endpoints = (_patterns(scope[name]) for name in ("models", "endpoints"))
    parts: dict[str, Any] = {"scope": Scope(models, endpoints)}
    parts["role"] = Role(**role, permissions=permissions)
    if (audit := written.get("audit")) is not None:
        parts["audit"] = AuditPolicy(AuditLevel(audit["level"]), audit["strict"])
    # not there in a batch of an older release
    parts["rules"] = tuple((name, tuple(values)) for name, values in written.get("rules", ()))
    return Caller(**{**written, **parts})


def _patterns(written: list[str] | None) -> tuple[str, ...] | None:
    return None if written is None else tuple(written)
