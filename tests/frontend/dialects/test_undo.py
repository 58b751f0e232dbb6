"""How changes of the history are undone."""

from typing import Any

import pytest

from frontend.dialects.admin.undo import undo_of
from frontend.domain.accounts import AdminEvent


def event(action: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> AdminEvent:
    kind = action.partition(".")[0].removesuffix("s")
    name = f"{kind}:x"
    rows = [None if one is None else {name: one} for one in (before, after)]
    return AdminEvent("e", 1, "a", "ada", action, kind, "x", {}, "", "", 1, rows[0], rows[1])


@pytest.mark.parametrize(
    ("action", "before", "after", "body"),
    [
        ("users.edit", {"disabled_at_us": 5, "updated_at_us": 1}, {"disabled_at_us": None},
         {"disabled": True}),
        ("users.edit", {"role": "staff", "email": None}, {"role": "admin", "email": "a@b"},
         {"role": "staff", "email": None}),
        ("keys.edit", {"expires_at_us": 9_000_000}, {"expires_at_us": None}, {"expires_at": 9}),
        ("quotas.edit", {"amount": 5}, {"amount": 6}, {"amount": 5}),
        ("plans.edit", {"credits_micro": 2_500_000, "quotas": [["tokens", "day", 3]]},
         {"credits_micro": None, "quotas": []},
         {"credits": 2.5, "quotas": [{"measure": "tokens", "period": "day", "amount": 3}]}),
        ("backends.edit", {"gpu_memory_mib": 2048, "draining_at_us": 5}, {"gpu_memory_mib": None},
         {"gpu_memory_gb": 2.0}),
    ],
)  # fmt: skip
def test_an_edit_is_undone_with_the_old_values(
    action: str, before: dict[str, Any], after: dict[str, Any], body: dict[str, Any]
) -> None:
    undo = undo_of(event(action, before, after))
    assert undo is not None
    assert (undo["method"], undo["path"]) == ("PATCH", f"/admin/{action.partition('.')[0]}/x")
    assert undo["body"] == body
    assert undo["expected"].keys() == body.keys()


def test_switches_of_upstreams_are_undone_by_their_opposite() -> None:
    undo = undo_of(event("backends.disable", {"enabled": True}, {"enabled": False}))
    assert undo is not None
    assert (undo["method"], undo["path"]) == ("POST", "/admin/backends/x/enable")
    drained = undo_of(event("backends.drain", {"draining_at_us": None}, {"draining_at_us": 5}))
    assert drained is not None
    assert drained["path"].endswith("/enable")
    # it was drained already, or enabled already: there is nothing to undo
    assert undo_of(event("backends.drain", {"refreshed_at_us": 1}, {"refreshed_at_us": 2})) is None
    assert undo_of(event("backends.enable", {"enabled": True}, {"enabled": True})) is None


def test_canaries_are_ended_and_made_again() -> None:
    target = {"model": "a", "percent": 90, "withdrawn_at_us": None, "reason": ""}
    row = {"id": "x", "name": "chat", "targets": [target], "sticky": "user", "created_at_us": 5,
           "max_error_percent": 10, "min_requests": 20, "updated_at_us": 5}  # fmt: skip
    made = undo_of(event("canaries.create", None, row))
    assert made == {"method": "DELETE", "path": "/admin/canaries/x", "body": None, "expected": {}}
    ended = undo_of(event("canaries.delete", row, None))
    assert ended is not None
    assert (ended["method"], ended["path"]) == ("POST", "/admin/canaries")
    assert ended["body"] == {
        "model": "chat", "targets": [{"model": "a", "percent": 90}], "sticky": "user",
        "max_error_percent": 10, "min_requests": 20,
    }  # fmt: skip
    promoted = undo_of(event("canaries.promote", {"targets": [target]}, {"targets": []}))
    assert promoted is not None
    assert promoted["body"] == {"targets": [{"model": "a", "percent": 90}]}


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("users.create", None, {"name": "ada"}),
        ("users.delete", {"name": "ada"}, None),
        ("users.edit", None, None),
        ("users.edit", {"updated_at_us": 1}, {"updated_at_us": 2}),
        ("users.reset_password", {"updated_at_us": 1}, {"updated_at_us": 2}),
        ("credits.grant", {"amount": 1}, {"amount": 2}),
    ],
)
def test_what_was_made_or_deleted_is_not_undone(
    action: str, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    assert undo_of(event(action, before, after)) is None
