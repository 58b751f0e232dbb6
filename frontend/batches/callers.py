"""The owner of a batch, as the database keeps them: it runs with what they were allowed then."""

from dataclasses import asdict
from typing import Any

from frontend.domain.identity import Caller, Permission, Role


def write_caller(caller: Caller) -> dict[str, Any]:
    """As JSON has it."""
    written = asdict(caller)
    written["role"]["permissions"] = sorted(one.value for one in caller.role.permissions)
    return written


def read_caller(written: dict[str, Any]) -> Caller:
    """The opposite of `write_caller`."""
    role = dict(written["role"])
    permissions = frozenset(Permission(one) for one in role.pop("permissions"))
    return Caller(**{**written, "role": Role(**role, permissions=permissions)})
