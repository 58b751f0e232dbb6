"""models.yaml on disk → a checked catalogue, or every reason why not, each with its line."""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from toolkit.errors import Finding, SpecError
from toolkit.spec import document
from toolkit.spec.document import Document
from toolkit.spec.entries import KINDS, STEPS, Catalogue, Spec
from toolkit.spec.source import FORMS, PathSource, parse_source

RESERVED = {"repository.json"}
STEP_NAMES = {step for steps in STEPS.values() for step in steps}
_WANTED = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of fields to values",
    "model_attributes_type": "must be a mapping of fields to values",
}
_NAME_HINT = "letters, digits, '.', '_' and '-', beginning with a letter or digit, 96 at most"
_ALIAS_HINT = "letters, digits and . _ - : / @, beginning with a letter or digit, 128 at most"


def load(path: Path) -> Spec:
    """Reads and checks a models.yaml. Raises SpecError with all findings in line order."""
    name = path.name
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(
            [Finding(str(path), 1, "", f"cannot be read: {error.strerror}", "name another file")]
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError([Finding(name, 1, "", f"is not UTF-8 text: {error.reason}")]) from error
    return parse(name, text, path.absolute().parent)


def parse(name: str, text: str, folder: Path) -> Spec:
    """Like `load`, for text; `folder` is where `path:` sources start. Raises SpecError."""
    read = document.read(name, text)
    findings = list(read.findings)
    catalogue: Catalogue | None = None
    if read.data is not None or not findings:
        try:
            whole = json.dumps(read.data, default=str)
            catalogue = Catalogue.model_validate_json(whole, strict=True)
        except ValidationError as error:
            findings += [_explain(read, details) for details in error.errors()]
        findings += _across(read, folder)
    if findings or catalogue is None:
        raise SpecError(sorted(findings, key=lambda finding: (finding.line, finding.field)))
    return Spec(catalogue=catalogue, folder=folder)


def _explain(read: Document, details: ErrorDetails) -> Finding:
    """One pydantic error in the words of models.yaml."""
    path = _path(details["loc"])
    kind = details["type"]
    value = details["input"]
    if kind == "extra_forbidden":
        return _unknown(read, path)
    if kind == "missing":
        return read.finding(path, "is missing", f"add `{path[-1]}: …`" if path else None)
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return _wrong_kind(read, path, value)
    if kind in _WANTED:
        if not path:
            return read.finding(path, "is empty" if value is None else "is no mapping", _EXAMPLE)
        return read.finding(path, f"{_WANTED[kind]}, not {_shown(value)}")
    if kind == "too_short":
        return read.finding(path, "is empty")
    if kind == "value_error":
        return read.finding(path, str(details["ctx"]["error"]))
    if kind == "string_pattern_mismatch":
        return _pattern(read, path, value)
    if kind == "literal_error":
        return read.finding(path, f"must be {details['ctx']['expected']}, not {_shown(value)}")
    return read.finding(path, f"{_lower(details['msg'])}, not {_shown(value)}")


_EXAMPLE = "begin with `version: 1` and `models:`"


def _path(loc: tuple[str | int, ...]) -> document.Path:
    """Pydantic's location without what it adds: the union's tag, and `[key]`."""
    path = [part for part in loc if part != "[key]"]
    if len(path) > 2 and path[0] == "models" and path[2] in KINDS:
        del path[2]
    return tuple(path)


def _unknown(read: Document, path: document.Path) -> Finding:
    known: list[str] = list(Catalogue.model_fields)
    if len(path) == 3:
        known = list(KINDS[_kind(read, str(path[1]))].model_fields)
    return read.finding(path, "is no known field", _nearest(str(path[-1]), known))


def _wrong_kind(read: Document, path: document.Path, value: object) -> Finding:
    kinds = ", ".join(KINDS)
    found = value.get("kind") if isinstance(value, dict) else None
    if found is None:
        return read.finding((*path, "kind"), "is missing", f"one of {kinds}")
    return read.finding(
        (*path, "kind"), f"{_shown(found)} is no kind of model", _nearest(str(found), list(KINDS))
    )


def _pattern(read: Document, path: document.Path, value: object) -> Finding:
    if path[-1] == "digest":
        return read.finding(
            path, f"{_shown(value)} is no digest", "write sha256: and 64 hex digits"
        )
    hint = _ALIAS_HINT if "aliases" in path else _NAME_HINT
    return read.finding(path, f"{_shown(value)} cannot be a name", hint)


def _across(read: Document, folder: Path) -> Iterator[Finding]:
    """What one entry's fields cannot tell: names that clash, files that are not there."""
    models = read.data.get("models") if isinstance(read.data, dict) else None
    if not isinstance(models, dict):
        return
    taken: dict[str, document.Path] = {name: ("models", name) for name in models}
    for name, entry in models.items():
        path: document.Path = ("models", name)
        if name in RESERVED:
            yield read.finding(path, "is a file of the repository's own", "choose another name")
        owner, _, step = name.rpartition(".")
        if owner in models and step in STEP_NAMES:
            yield read.finding(path, f"is the name of a step of '{owner}'", "choose another name")
        if isinstance(entry, dict):
            yield from _aliases(read, path, entry.get("aliases"), taken)
            yield from _missing_path(read, path, entry.get("source"), folder)
            yield from _contradictions(read, path, entry)


def _aliases(
    read: Document, path: document.Path, aliases: object, taken: dict[str, document.Path]
) -> Iterator[Finding]:
    for index, alias in enumerate(aliases if isinstance(aliases, list) else []):
        here = (*path, "aliases", index)
        if not isinstance(alias, str):
            continue
        if alias in taken:
            where = f"{document.dotted(taken[alias])} (line {read.line(taken[alias])})"
            yield read.finding(here, f"'{alias}' is taken by {where}", "every name belongs to one")
        else:
            taken[alias] = here


def _missing_path(
    read: Document, path: document.Path, source: object, folder: Path
) -> Iterator[Finding]:
    try:
        origin = parse_source(source) if isinstance(source, str) else None
    except ValueError:
        return
    if isinstance(origin, PathSource) and not (folder / origin.path).exists():
        yield read.finding(
            (*path, "source"),
            f"there is no {origin.path}",
            f"paths start at the folder of {read.file}; other sources: {FORMS}",
        )


def _contradictions(
    read: Document, path: document.Path, entry: dict[str, object]
) -> Iterator[Finding]:
    steps, most = entry.get("steps", 25), entry.get("max_steps", 100)
    if isinstance(steps, int) and isinstance(most, int) and steps > most:
        yield read.finding((*path, "steps"), f"is {steps}, more than max_steps {most}")
    engine = entry.get("engine")
    for name in {"model", "max_model_len"} & set(engine if isinstance(engine, dict) else ()):
        yield read.finding(
            (*path, "engine", name), "is set by the toolkit", "use `source` and `context_length`"
        )


def _kind(read: Document, name: str) -> str:
    assert isinstance(read.data, dict)
    return str(read.data["models"][name]["kind"])


def _nearest(word: str, known: list[str]) -> str:
    if near := difflib.get_close_matches(word, known, n=1, cutoff=0.6):
        return f"did you mean `{near[0]}`?"
    return f"known: {', '.join(known)}"


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
