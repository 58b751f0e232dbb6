"""Applies an entry's `targets` for one target, and keeps the place of each change. Pure."""

import copy
from collections.abc import Iterator
from typing import Any

from toolkit.finding import FieldFinding
from toolkit.spec.document import Path

_FIXED = {
    "kind": "a model has the same kind on all targets",
    "targets": "`targets` cannot contain `targets`",
    "aliases": "a model has the same names on all targets",
}


def names_for(target: str) -> tuple[str, ...]:
    """The keys of `targets` that hold for a target, the more general ones first."""
    general, release = target.partition(":")[0], target.partition("-")[0]
    # later ones are merged over earlier ones, so the most precise name wins
    return tuple(dict.fromkeys((general, release, target)))


def changed(
    raw: dict[str, Any], targets: tuple[str, ...]
) -> tuple[dict[str, Any], dict[Path, Path]]:
    """The entry with the changes of these keys of `targets`, without `targets` itself.

    With it, for every value that a change put there: its path → where it is written.
    """
    overrides = raw.get("targets")
    merged = {key: copy.deepcopy(value) for key, value in raw.items() if key != "targets"}
    origins: dict[Path, Path] = {}
    for target in targets:
        change = overrides.get(target) if isinstance(overrides, dict) else None
        if isinstance(change, dict):
            # fixed ones have a finding (`change_findings`) and must not change what is checked
            values = {key: value for key, value in change.items() if key not in _FIXED}
            _merge(merged, values, (), ("targets", target), origins)
    return merged, origins


def change_findings(raw: dict[str, Any]) -> Iterator[FieldFinding]:
    """Finds fields that targets must not change."""
    overrides = raw.get("targets")
    for target, change in overrides.items() if isinstance(overrides, dict) else ():
        for field in change if isinstance(change, dict) else ():
            if field in _FIXED:
                yield ("targets", target, field), "cannot differ between targets", _FIXED[field]


def _merge(
    into: dict[str, Any],
    values: dict[str, Any],
    at: Path,
    written: Path,
    origins: dict[Path, Path],
) -> None:
    for key, value in values.items():
        # lists are replaced: nothing says which items of two lists belong together
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value, (*at, key), (*written, key), origins)
        else:
            into[key] = copy.deepcopy(value)
            origins[(*at, key)] = (*written, key)
