"""Makes the request that undoes a change of the history, by setting the old values.

Pure. The request uses the ordinary API, so its sender needs the permission of that route, and it is
a change of its own. Only edits can be undone: deleted objects cannot be restored, and created ones
may be in use. A canary only consists of shares, so its creation and its end can be undone.
"""

from typing import Any

from frontend.dialects.admin.answers import Shown
from frontend.domain.accounts import AdminEvent

_MICRO = 1_000_000
_PATHS = {
    "organisations.edit": "/admin/organisations",
    "groups.edit": "/admin/groups",
    "users.edit": "/admin/users",
    "roles.edit": "/admin/roles",
    "keys.edit": "/admin/keys",
    "quotas.edit": "/admin/quotas",
    "plans.edit": "/admin/plans",
    "backends.edit": "/admin/backends",
    "canaries.edit": "/admin/canaries",
    "canaries.promote": "/admin/canaries",
    "canaries.withdraw": "/admin/canaries",
}
_OWN = frozenset(
    {"id", "updated_at_us", "created_at_us", "built_in", "draining_at_us", "refreshed_at_us"}
)
"""Columns that an edit does not set."""
_MIB = 1024
_SWITCHES = {
    "backends.enable": ("enabled", False, "disable"),
    "backends.disable": ("enabled", True, "enable"),
    "backends.drain": ("draining_at_us", None, "enable"),
}
"""The column that was changed, what it must have been, and what brings that back."""


def undo_of(event: AdminEvent) -> Shown | None:
    """Method, path and body that set the old values, and what they are `expected` to be now; None
    where the change cannot be undone."""
    name = f"{event.target_kind}:{event.target_id}"
    before, after = _columns(event.before, name), _columns(event.after, name)
    if event.action in ("canaries.create", "canaries.delete"):
        return _canary(event, before)
    if event.action in _SWITCHES:
        column, old, verb = _SWITCHES[event.action]
        if column not in before or before[column] != old:
            return None
        path = f"/admin/backends/{event.target_id}/{verb}"
        return {"method": "POST", "path": path, "body": None, "expected": {}}
    path = _PATHS.get(event.action, "")
    body, expected = _fields(before), _fields(after)
    if not path or not body or body.keys() != expected.keys():
        return None
    expected.pop("models", None)  # an upstream is shown with those that it serves now
    expected.pop("targets", None)  # a canary's are shown with how they do
    return {
        "method": "PATCH",
        "path": f"{path}/{event.target_id}",
        "body": body,
        "expected": expected,
    }


def _canary(event: AdminEvent, before: dict[str, Any]) -> Shown:
    """A new canary is ended, and one that was ended is made again."""
    path, body = "/admin/canaries", None
    if event.action == "canaries.create":
        return {
            "method": "DELETE",
            "path": f"{path}/{event.target_id}",
            "body": body,
            "expected": {},
        }
    body = _fields(before)
    body["model"] = body.pop("name", event.details.get("name"))
    return {"method": "POST", "path": path, "body": body, "expected": {}}


def _columns(rows: dict[str, object] | None, name: str) -> dict[str, Any]:
    row = (rows or {}).get(name)
    return row if isinstance(row, dict) else {}


def _fields(columns: dict[str, Any]) -> Shown:
    """Columns as the fields of the API."""
    fields: Shown = {}
    for name, value in columns.items():
        if name in _OWN:
            continue
        if name == "disabled_at_us":
            fields["disabled"] = value is not None
        elif name.endswith("_at_us"):
            fields[name.removesuffix("_us")] = None if value is None else value // _MICRO
        elif name.endswith("_micro"):
            shown = None if value is None else value / _MICRO
            fields[name.removesuffix("_micro")] = shown
        elif name == "targets":
            shares = [(target["model"], target["percent"]) for target in value]
            fields[name] = [{"model": model, "percent": share} for model, share in shares]
        elif name == "gpu_memory_mib":
            fields["gpu_memory_gb"] = None if value is None else value / _MIB
        elif name == "quotas":
            names = ("measure", "period", "amount")
            fields[name] = [dict(zip(names, one, strict=True)) for one in value]
        else:
            fields[name] = value
    return fields
