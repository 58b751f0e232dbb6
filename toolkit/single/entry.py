"""Writes the models.yaml for a source, and builds its repository.

Both are in the toolkit's home, in a folder that is named after the entry, and can be deleted.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from toolkit.building import build as build_repository
from toolkit.catalogue import catalogue
from toolkit.fields.entry import ALIAS
from toolkit.fields.source import GgufSource, HubSource, Source, parse_source
from toolkit.fit.available import served_context
from toolkit.home import home
from toolkit.kinds import all_kinds
from toolkit.progress import Progress
from toolkit.single.detect import detect
from toolkit.spec import parse
from toolkit.spec.starter import name_of
from toolkit.targets import find_target
from toolkit.weights.digest import text_digest

_FILE = "models.yaml"


@dataclass(frozen=True, slots=True)
class Single:
    """One model: its `name`, the models.yaml for it, and the folder for both."""

    name: str
    kind: str
    context_length: int | None
    longest_context: int | None
    text: str

    @property
    def folder(self) -> Path:
        return home() / "served" / f"{self.name}-{text_digest(self.text)[:12]}"

    @property
    def repository(self) -> Path:
        return self.folder / "model_repository"


def plan(
    text: str, source: Source, progress: Progress, *, context_length: int | None = None
) -> Single:
    """The entry for `source`; `text` is what the user typed, which becomes an alias.

    Raises SourceError if the source cannot be served, and MissingExtra without the library for its
    scheme.
    """
    model = detect(source, progress)
    name = _known_name(source) or name_of(str(model.source))
    context = None
    kind = all_kinds()[model.kind]
    if kind.default_context is not None:
        context = context_length or served_context(model.kind, model.context_length)
    fields: dict[str, object] = {"kind": model.kind, "source": str(model.source)}
    if aliases := _aliases(name, text, source):
        fields["aliases"] = aliases
    # an encoder finds its own limit, which may be below its positions
    shortened = context is not None and (model.context_length or 0) > context
    if kind.needs_context or context_length is not None or shortened:
        fields["context_length"] = context
    fields |= _settings(name)
    entry = "\n".join(f"    {key}: {json.dumps(value)}" for key, value in fields.items())
    yaml = f"version: 1\nmodels:\n  {json.dumps(name)}:\n{entry}\n"
    return Single(name, model.kind, context, model.context_length, yaml)


def build(single: Single, progress: Progress) -> Path:
    """Builds the repository and returns its path; quick if it has been built before.

    Raises what `toolkit.building.build` raises.
    """
    single.folder.mkdir(parents=True, exist_ok=True)
    (single.folder / _FILE).write_text(single.text, encoding="utf-8")
    spec = parse(_FILE, single.text, single.folder)
    build_repository(spec, find_target("embedded"), single.repository, progress)
    return single.repository


def _known_name(source: Source) -> str | None:
    names = (name for name, each in catalogue().items() if parse_source(each.source) == source)
    return next(names, None)


def _settings(name: str) -> dict[str, object]:
    known = catalogue().get(name)
    return dict(known.settings) if known else {}


def _aliases(name: str, text: str, source: Source) -> list[str]:
    """What clients of other servers ask for: the Hub's name, and what was typed."""
    inner = source.file if isinstance(source, GgufSource) else source
    hub = [inner.repository, str(source)] if isinstance(inner, HubSource) else []
    names = dict.fromkeys([*hub, text])
    return [each for each in names if each != name and re.fullmatch(ALIAS, each)]
