"""Finds names of models, aliases and adapters that clash; the kinds check everything else."""

from collections.abc import Iterator, Mapping

from toolkit.finding import Finding
from toolkit.kinds import all_kinds
from toolkit.spec import document
from toolkit.spec.document import Document

RESERVED = {"repository.json"}


def name_findings(read: Document, models: Mapping[str, Mapping[str, object]]) -> Iterator[Finding]:
    """Clashing names of models, aliases and adapters. `models` is the file's data, valid or not."""
    taken: dict[str, document.Path] = {name: ("models", name) for name in models}
    steps = {step.name for kind in all_kinds().values() for step in kind.steps}
    for name, entry in models.items():
        path: document.Path = ("models", name)
        if name in RESERVED:
            yield read.finding(
                path, "is the name of a file of the repository", "choose another name"
            )
        owner, _, step = name.rpartition(".")
        # Triton has one namespace: the folder `a.engine` would be both
        if owner in models and step in steps:
            yield read.finding(path, f"is the name of a step of '{owner}'", "choose another name")
        adapters = entry.get("adapters")
        for adapter, about in adapters.items() if isinstance(adapters, dict) else ():
            here = (*path, "adapters", adapter)
            yield from _take(read, adapter, here, taken)
            if isinstance(about, dict):
                yield from _aliases(read, here, about.get("aliases"), taken)
        yield from _aliases(read, path, entry.get("aliases"), taken)


def _aliases(
    read: Document, path: document.Path, aliases: object, taken: dict[str, document.Path]
) -> Iterator[Finding]:
    for index, alias in enumerate(aliases if isinstance(aliases, list) else []):
        if isinstance(alias, str):
            yield from _take(read, alias, (*path, "aliases", index), taken)


def _take(
    read: Document, name: str, here: document.Path, taken: dict[str, document.Path]
) -> Iterator[Finding]:
    if name in taken:
        where = f"{document.dotted(taken[name])} (line {read.line(taken[name])})"
        yield read.finding(here, f"'{name}' is taken by {where}", "choose another name")
    else:
        taken[name] = here
