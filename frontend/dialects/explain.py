"""Explains why msgspec refuses a body. Pure.

msgspec's errors contain neither the value nor our texts, so the body is checked again in the order
of its declaration, up to the first invalid field.
"""

import difflib
from collections.abc import Callable, Iterable
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Struct, inspect, structs

from frontend.dialects.declare import Off
from frontend.dialects.refusal import MAX_SHOWN, check_count, refuse, require, shown
from frontend.errors import InvalidRequest, UnknownFields

_MAX_COMPARED = 64


@cache
def describe(kind: type[Struct]) -> inspect.StructType:
    """A declaration as msgspec sees it."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return info


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def check_struct(info: inspect.StructType, value: Any, path: str) -> None:
    """Checks an object against its declaration, and removes unknown fields that are null from
    nested objects. Raises InvalidRequest, naming the field, for the first difference."""
    if not isinstance(value, dict):
        where = f"'{path}'" if path else "the request body"
        raise InvalidRequest(f"{where} must be a JSON object", param=path or None)
    # what is missing at the top is reported first: without `model` or `messages` little else counts
    fields = info.fields if path else sorted(info.fields, key=lambda one: not one.required)
    for field in fields:
        given, place = value.get(field.encode_name), _at(path, field.encode_name)
        if given is not None:
            _check(field.type, given, place, _options(info.cls).get(field.name, ()))
        elif field.required or "missing" in _unwrapped(field.type)[1]:
            missing = _unwrapped(field.type)[1].get("missing")
            raise require(place) if missing is None else refuse(place, missing)
    if info.forbid_unknown_fields:
        known = {field.encode_name for field in info.fields} | {info.tag_field or ""}
        _check_names(value, known, path)


def _check_names(value: dict[str, Any], known: set[str], path: str) -> None:
    # a body may have more than 100,000 names: each step looks at each name once
    unknown = [name for name in value if name not in known]
    if path:
        # SDKs send null for fields of nested objects that they know and do not use
        for name in unknown:
            if value[name] is None:
                del value[name]
        unknown = [name for name in unknown if name in value]
    if not unknown:
        return
    # one with a value first: a null is not what the client meant to set
    name = next((name for name in unknown if value[name] is not None), None) or min(unknown)
    short = len(name) <= _MAX_COMPARED  # comparing takes the product of the lengths
    near = difflib.get_close_matches(name, known, n=1) if short else []
    hint = f"; did you mean '{near[0]}'?" if near else ""
    problem = f"is not a known parameter{hint}"
    if path:
        raise refuse(_at(path, name[:MAX_SHOWN]), problem, code="unknown_parameter")
    names = [name, *(one for one in unknown if one != name)]
    raise UnknownFields(f"'{name[:MAX_SHOWN]}' {problem}", names=names)


@cache
def _options(kind: type[Struct]) -> dict[str, tuple[str, ...]]:
    """The strings that fields may be, in the order of their declaration, which msgspec sorts."""
    return {field.name: tuple(_literals(field.type)) for field in structs.fields(kind)}


def _literals(kind: Any) -> Iterable[str]:
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    elif get_origin(kind) in (Annotated, Union, UnionType):
        for one in get_args(kind):
            yield from _literals(one)


def _check(info: inspect.Type, value: Any, path: str, options: tuple[str, ...] = ()) -> None:
    """Raises InvalidRequest where the value does not fit. `options` are its literals in order."""
    bare, extra = _unwrapped(info)
    extra["options"] = options
    if (reason := extra.get("reason")) is not None:
        try:
            _check_members(_members(bare), value, path, extra)
        except InvalidRequest:
            problem = f"is not supported: {reason}"
            raise refuse(path, problem, code="unsupported_parameter") from None
        return
    _check_members(_members(bare), value, path, extra)


def _unwrapped(info: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    extra: dict[str, Any] = {}
    while isinstance(info, inspect.Metadata):
        extra = {**(info.extra or {}), **extra}
        info = info.type
    return info, extra


def _members(info: inspect.Type) -> list[inspect.Type]:
    """The types that a value may have, besides null."""
    types = info.types if isinstance(info, inspect.UnionType) else (info,)
    return [_unwrapped(one)[0] for one in types if not isinstance(one, inspect.NoneType)]


def _check_members(
    members: list[inspect.Type], value: Any, path: str, extra: dict[str, Any]
) -> None:
    structs = [one for one in members if isinstance(one, inspect.StructType)]
    if structs and (len(structs) == len(members) or isinstance(value, dict)):
        _check_structs(structs, value, path, extra)
        return
    fitting = next((one for one in members if _has_shape(one, value)), None)
    if fitting is not None:
        _check_bounds(fitting, members[-1], value, path, extra)
    elif "says" in extra:
        raise refuse(path, extra["says"])
    elif isinstance(members[0], inspect.CustomType):
        raise refuse(path, "is not supported")
    elif any(isinstance(one, inspect.IntType) for one in members) and _is_huge(value):
        raise refuse(path, f"does not fit into 64 bits; it must be {_bounds(members[0])}")
    else:
        must_be = extra.get("must_be") or _default_words(members)
        raise refuse(path, f"must be {must_be}, not {shown(value)}")


def _check_structs(
    structs: list[inspect.StructType], value: Any, path: str, extra: dict[str, Any]
) -> None:
    """One declaration, or the one of several that the tag names."""
    tag_field = structs[0].tag_field
    if tag_field is None or not isinstance(value, dict):
        check_struct(structs[0], value, path)
        return
    tag, place = value.get(tag_field), _at(path, tag_field)
    if tag is None:
        raise require(place)
    if not isinstance(tag, str):
        raise refuse(place, f"must be a string, not {shown(tag)}")
    chosen = next((one for one in structs if one.tag == tag), None)
    if chosen is not None:
        check_struct(chosen, value, path)
    else:
        raise _unsupported(place, tag, {**extra, "options": ()}, [one.tag for one in structs])


def _unsupported(
    path: str, value: str, extra: dict[str, Any], allowed: Iterable[object]
) -> InvalidRequest:
    options = ", ".join(repr(one) for one in extra["options"] or allowed)
    words, code = extra.get("unknown", (f"supported: {options}", None))
    return refuse(path, f"is {value[:MAX_SHOWN]!r}; {words}", code=code)


def _has_shape(info: inspect.Type, value: Any) -> bool:
    """Whether the value has the type, whatever its bounds."""
    if isinstance(info, inspect.CustomType):
        return info.cls is Off and value is False
    if isinstance(info, inspect.ListType):
        item = _unwrapped(info.item_type)[0]
        # a list of scalars is a shape of its own: `prompt` takes texts, ids or a list of either
        if isinstance(item, inspect.StrType | inspect.IntType):
            return isinstance(value, list) and all(_fits_item(item, one) for one in value)
    return next((test(value) for kind, test in _SHAPES if isinstance(info, kind)), True)


def _fits_item(item: inspect.Type, value: Any) -> bool:
    if not _has_shape(item, value):
        return False
    if isinstance(item, inspect.IntType):
        return (item.ge is None or value >= item.ge) and (item.le is None or value <= item.le)
    return True


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_huge(value: object) -> bool:
    """JSON's integers beyond 64 bits arrive as floats."""
    return isinstance(value, float) and abs(value) >= 2**63


_SHAPES: tuple[tuple[type, Callable[[Any], bool]], ...] = (
    (inspect.StrType, lambda value: isinstance(value, str)),
    (inspect.LiteralType, lambda value: isinstance(value, str)),
    (inspect.BoolType, lambda value: isinstance(value, bool)),
    (inspect.IntType, _is_whole),
    (inspect.FloatType, lambda value: isinstance(value, float)),
    (inspect.DictType, lambda value: isinstance(value, dict)),
    (inspect.StructType, lambda value: isinstance(value, dict)),
    (inspect.ListType, lambda value: isinstance(value, list)),
)


def _default_words(members: list[inspect.Type]) -> str:
    kinds = {type(one) for one in members}
    if kinds >= {inspect.StrType, inspect.ListType}:
        return "a string or a list of strings"
    if inspect.FloatType in kinds:
        return "a number"
    return _WORDS[type(members[0])]


_WORDS: dict[type, str] = {
    inspect.StrType: "a string",
    inspect.LiteralType: "a string",
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.DictType: "a JSON object",
    inspect.ListType: "a list",
}


def _check_bounds(
    info: inspect.Type, widest: inspect.Type, value: Any, path: str, extra: dict[str, Any]
) -> None:
    """`widest` has the bounds that are shown: those of fractions, where both are taken."""
    if isinstance(info, inspect.LiteralType):
        if value not in info.values:
            raise _wrong(path, extra) or _unsupported(path, value, extra, info.values)
    elif isinstance(info, inspect.IntType | inspect.FloatType):
        if (info.ge is not None and value < info.ge) or (info.le is not None and value > info.le):
            raise refuse(path, f"is {value}; it must be {_bounds(widest)}")
    elif isinstance(info, inspect.StrType):
        if info.min_length is not None and len(value) < info.min_length:
            raise _wrong(path, extra) or refuse(path, "must not be empty")
        if info.max_length is not None and len(value) > info.max_length:
            text = f"has {len(value):,} characters, more than the {info.max_length:,} allowed"
            raise _wrong(path, extra) or refuse(path, text)
    elif isinstance(info, inspect.ListType):
        if info.min_length is not None and len(value) < info.min_length:
            raise _wrong(path, extra) or refuse(path, "must not be empty")
        if info.max_length is not None:
            check_count(path, value, info.max_length)
        for index, one in enumerate(value):
            _check(info.item_type, one, f"{path}[{index}]")


def _wrong(path: str, extra: dict[str, Any]) -> InvalidRequest | None:
    return refuse(path, extra["says"]) if "says" in extra else None


def _bounds(info: inspect.Type) -> str:
    assert isinstance(info, inspect.IntType | inspect.FloatType)
    low, high = info.ge, info.le
    if low is None and high is None:
        return f"between {-(2**63)} and {2**63 - 1}"
    if low == high:
        return str(low)
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"between {low} and {high}"
