"""The kinds of models: each module in this folder that has a `KIND` is one.

The toolkit does not list them anywhere else. CONTRIBUTING.md describes how to add a kind.
"""

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.facts import Facts
    from toolkit.fields.entry import BaseEntry
    from toolkit.kinds.kind import Kind


@cache
def all_kinds() -> "dict[str, Kind[Any, Any]]":
    """Every kind by its name, in the order of lists and pages."""
    modules = [import_module(f"{__name__}.{each.name}") for each in iter_modules(__path__)]
    found: list[Kind[Any, Any]] = [module.KIND for module in modules if hasattr(module, "KIND")]
    # by position: `iter_modules` is alphabetical, and pages list language models first
    return {kind.name: kind for kind in sorted(found, key=lambda kind: kind.position)}


def of(entry: "BaseEntry") -> "Kind[Any, Any]":
    """The kind of an entry of models.yaml."""
    return all_kinds()[entry.kind]


def read_facts(folder: Path) -> "Facts":
    """The facts that `toolkit.facts.write_facts` put into a folder of converted weights."""
    from toolkit.facts import FILE  # noqa: PLC0415  the registry itself is cheap to import

    text = (folder / FILE).read_text(encoding="utf-8")
    facts: type[Facts] | None = all_kinds()[json.loads(text)["kind"]].facts
    assert facts is not None
    return facts.model_validate_json(text)
