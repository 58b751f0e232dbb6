"""Converts pydantic's errors to findings about models.yaml."""

import json
from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from toolkit.fields.entry import NAME_HINT
from toolkit.finding import Finding
from toolkit.kinds import all_kinds
from toolkit.names import close_matches, nearest, shown
from toolkit.spec.document import Document, Path
from toolkit.spec.models import ENTRIES, Models
from toolkit.spec.schema import fields_at

_EXPECTED = {
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
_ALIAS_HINT = (
    "use at most 128 letters, digits and . _ - : / @, beginning with a letter or digit; one "
    "`*` stands for any text"
)
_HINTS = {
    "digest": "write sha256: and 64 hex digits",
    "revision": "a branch, a tag or a commit",
    "targets": "write embedded, container, container:YY.MM or container:YY.MM-vllm",
    "aliases": _ALIAS_HINT,
    "parameters": "letters, digits, '_', '.' and '-', beginning with a letter or '_'",
}
_EXAMPLE = "begin with `version: 1` and `models:`"


def explain(read: Document, details: ErrorDetails, at: Path = (), kind: str = "") -> Finding:
    """Converts one error. `at` is the path of the validated part, `kind` the model's."""
    loc = details["loc"]
    if at and loc and loc[0] in ENTRIES:  # an entry by itself: the union's tag comes first
        loc = loc[1:]
    path = (*at, *_path(loc))
    value = details["input"]
    match details["type"]:
        case "extra_forbidden":
            return _unknown(read, path, kind)
        case "missing":
            return read.finding(path, "is missing", f"add `{path[-1]}: …`" if path else None)
        case "union_tag_invalid" | "union_tag_not_found":
            return _wrong_kind(read, path, value)
        case expected_type if expected_type in _EXPECTED:
            if not path:
                return read.finding(
                    path, "is empty" if value is None else "is not a mapping", _EXAMPLE
                )
            return read.finding(path, f"{_EXPECTED[expected_type]}, not {shown(value)}")
        case "too_short":
            return read.finding(path, "is empty")
        case "value_error":
            return read.finding(path, str(details["ctx"]["error"]))
        case "string_too_long":
            limit = details["ctx"]["max_length"]
            return read.finding(path, f"must have at most {limit} characters")
        case "string_pattern_mismatch":
            return _pattern(read, path, value)
        case "literal_error":
            expected = details["ctx"]["expected"]
            words = [word.strip("' ") for word in expected.replace(" or ", ", ").split(", ")]
            # with one value the text above has said it already
            near = nearest(str(value), words) if len(words) > 1 else None
            return read.finding(path, f"must be {expected}, not {shown(value)}", near)
    return read.finding(path, f"{_lower(details['msg'])}, not {shown(value)}")


def errors(error: ValidationError) -> list[ErrorDetails]:
    """All errors, one per value: a union reports one for each of its members."""
    found: dict[Path, ErrorDetails] = {}
    for details in error.errors():
        found.setdefault(_path(details["loc"]), details)
    return list(found.values())


def kindless_findings(read: Document, name: str, raw: Mapping[str, object]) -> list[Finding]:
    """The errors of an entry whose kind is missing or unknown, independent of its kind.

    A misspelt kind is taken for the one that it resembles.
    """
    near = close_matches(str(raw.get("kind")), ENTRIES)
    kinds = near or list(ENTRIES)
    by_kind = {kind: _errors_as(kind, raw) for kind in kinds}
    found: dict[Path, Finding] = {}
    for kind in kinds:
        for path, details in by_kind[kind].items():
            able = [
                other
                for other in kinds
                if details["type"] in {"missing", "extra_forbidden"}
                or path[0] in ENTRIES[other].model_fields
            ]
            # only what is wrong for every kind that has the field: the right kind is not known
            if path not in found and all(path in by_kind[other] for other in able):
                found[path] = explain(read, details, ("models", name), near[0] if near else "")
    return list(found.values())


def _errors_as(kind: str, raw: Mapping[str, object]) -> dict[Path, ErrorDetails]:
    """Errors of an entry by their path, if it were of this kind."""
    try:
        ENTRIES[kind].model_validate_json(json.dumps({**raw, "kind": kind}, default=str))
    except ValidationError as error:
        return {_path(details["loc"]): details for details in errors(error)}
    return {}


def _path(loc: tuple[str | int, ...]) -> Path:
    """Pydantic's location without a union's tag or member, and without `[key]`."""
    path = [part for part in loc if part != "[key]" and not _is_member(part)]
    if len(path) > 2 and path[0] == "models" and path[2] in ENTRIES:
        del path[2]
    return tuple(path)


def _is_member(part: str | int) -> bool:
    """Whether pydantic put this name of a union's member into a path: `literal[…]`, `tuple[…]`."""
    return isinstance(part, str) and part.endswith("]") and "[" in part and part != "[key]"


def _unknown(read: Document, path: Path, kind: str) -> Finding:
    if len(path) <= 1:
        return read.finding(
            path, "is not a known field", nearest(str(path[-1]), Models.model_fields)
        )
    if kind in ENTRIES and (reason := all_kinds()[kind].not_here.get(str(path[-1]))):
        return read.finding(path, f"is not a field of kind `{kind}`", reason)
    return read.finding(path, "is not a known field", nearest(str(path[-1]), _fields(path, kind)))


def _fields(path: Path, kind: str) -> list[str]:
    """The fields that may be `path`'s last part is."""
    at = path[2:-1]
    if at[:1] == ("targets",):
        at = at[2:]
    kinds = [kind] if kind in ENTRIES else list(ENTRIES)
    return list(dict.fromkeys(name for each in kinds for name in fields_at(each, at)))


def _wrong_kind(read: Document, path: Path, value: object) -> Finding:
    found = value.get("kind") if isinstance(value, dict) else None
    if found is None:
        return read.finding((*path, "kind"), "is missing", f"one of {', '.join(ENTRIES)}")
    return read.finding(
        (*path, "kind"), f"{shown(found)} is not a kind of model", nearest(str(found), ENTRIES)
    )


def _pattern(read: Document, path: Path, value: object) -> Finding:
    for field, hint in _HINTS.items():
        if field in path[2:]:
            what = {"digest": "is not a digest", "revision": "is not a revision"}.get(field)
            what = what or ("is not a target" if field == "targets" else "is not a valid name")
            return read.finding(path, f"{shown(value)} {what}", hint)
    return read.finding(path, f"{shown(value)} is not a valid name", NAME_HINT)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
