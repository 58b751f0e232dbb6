"""Checks whether vLLM accepts a value for an argument: type, choices, range, nested settings.

It reads the types that `declarations` writes. An unknown type accepts every value.
"""

import ast
import operator
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from toolkit.engine_arguments import Declared, Engine
from toolkit.names import close_matches, nearest, shown

Path = tuple[str | int, ...]
Misfit = tuple[Path, str, str | None]
"""Where in the arguments, what is wrong, how to fix it."""
_PLAIN: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "None": (type(None),),
}
_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "None": "null",
    "dict": "a mapping",
    "list": "a list",
    "set": "a list",
}
_CHOICES = {"Literal", "Enum", "Names"}
_BOUNDS = {
    "gt": ("more than", operator.gt),
    "ge": ("at least", operator.ge),
    "lt": ("less than", operator.lt),
    "le": ("at most", operator.le),
}


def misfits(arguments: Mapping[str, object], engine: Engine) -> Iterator[Misfit]:
    """Every value in `arguments` that this version of vLLM refuses by itself."""
    for name, value in arguments.items():
        if name not in engine.arguments:
            text = f"vLLM {engine.version} has no such argument"
            yield (name,), text, nearest(name, engine.arguments)
        else:
            yield from _check(value, engine.arguments[name], (name,), engine)


def number_misfit(value: object, bounds: Mapping[str, float], at: Path) -> Iterator[Misfit]:
    """The reason why a number is out of its bounds, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield at, f"is {shown(value)}; it must be a number", None
    else:
        yield from _out_of_range(value, bounds, at)


def names_of(declared: Declared) -> list[Any]:
    """The choices of a type, without what else it takes."""
    kind = declared if isinstance(declared, str) else str(declared["type"])
    return [choice for part in _parsed(kind) for choice in _choices(part)]


def _check(value: object, declared: Declared, at: Path, engine: Engine) -> Iterator[Misfit]:
    kind = declared if isinstance(declared, str) else str(declared["type"])
    union = _parsed(kind)
    found: Sequence[Misfit] = ()
    for part in union:
        found = list(_check_part(value, part, at, engine))
        if not found:
            break
        if found[0][0] != at:  # the right type with something wrong inside
            break
    else:
        yield _refusal(value, union, at)
        return
    yield from found
    if not found and isinstance(declared, dict):
        yield from _out_of_range(value, declared, at)


def _check_part(value: object, part: ast.expr, at: Path, engine: Engine) -> Iterator[Misfit]:
    """Nothing if the value is of this part of a union; places further in, if that is wrong."""
    name, inner = _outer(part)
    wrong = (at, "", None)
    if name in _PLAIN:
        fits = isinstance(value, _PLAIN[name]) and (name == "bool" or not isinstance(value, bool))
        if not fits or (name == "str" and _is_misspelt(value, part)):
            yield wrong
    elif name in _CHOICES:
        if not _is_choice(value, name, inner):
            yield wrong
    elif name in {"list", "set"}:
        yield from _check_list(value, inner, at, engine)
    elif name == "dict":
        yield from _check_dict(value, inner, at, engine)
    elif name in engine.classes:
        yield from _check_settings(value, name, at, engine)


def _check_list(value: object, inner: list[Any], at: Path, engine: Engine) -> Iterator[Misfit]:
    if not isinstance(value, list | tuple):
        yield at, "", None
        return
    for index, item in enumerate(value if inner else ()):
        yield from _check(item, ast.unparse(inner[0]), (*at, index), engine)


def _check_dict(value: object, inner: list[Any], at: Path, engine: Engine) -> Iterator[Misfit]:
    if not isinstance(value, Mapping):
        yield at, "", None
        return
    for key, item in value.items() if len(inner) > 1 else ():
        if keys := _choices(inner[0]):
            yield from _misspelt_key(key, keys, at)
        yield from _check(item, ast.unparse(inner[1]), (*at, str(key)), engine)


def _misspelt_key(key: object, keys: list[Any], at: Path) -> Iterator[Misfit]:
    if key not in keys:
        yield (*at, str(key)), "is not a name that vLLM knows here", nearest(str(key), keys)


def _check_settings(value: object, name: str, at: Path, engine: Engine) -> Iterator[Misfit]:
    if not isinstance(value, Mapping):
        yield at, "", None
        return
    known = engine.classes[name]
    for field, item in value.items():
        declared = known.get(field) or known.get("*")
        if declared is None or (field not in known and close_matches(str(field), known)):
            yield (*at, str(field)), f"is not a setting of {name}", nearest(str(field), known)
        else:
            yield from _check(item, declared, (*at, field), engine)
    for field, declared in known.items():
        if isinstance(declared, dict) and declared.get("required") and field not in value:
            yield (*at, field), "is missing", f"add `{field}: …`"


def _refusal(value: object, union: Sequence[ast.expr], at: Path) -> Misfit:
    """The values that a union accepts, for one that it does not accept."""
    choices = [choice for part in union for choice in _choices(part)]
    words = list(dict.fromkeys(word for part in union if (word := _word(part, bool(choices)))))
    if choices and isinstance(value, str):
        text = f"is {shown(value)}, which vLLM does not support"
        known = {str(each).lower(): str(each) for each in choices}
        near = close_matches(value.lower(), known)
        return at, text, nearest(known[near[0]] if near else value, known.values())
    listed = [f"one of {', '.join(str(each) for each in choices[:12])}"] if choices else []
    return at, f"is {shown(value)}; it must be {' or '.join(listed + words)}", None


def _word(part: ast.expr, has_choices: bool) -> str | None:
    name, _ = _outer(part)
    if name in _CHOICES or (name in {"str", "None"} and has_choices):
        return None
    return _WORDS.get(name, "a mapping")


def _out_of_range(value: object, declared: Mapping[str, Any], at: Path) -> Iterator[Misfit]:
    bounds = {key: bound for key, bound in declared.items() if key in _BOUNDS}
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not all(_BOUNDS[key][1](value, bound) for key, bound in bounds.items()):
        words = " and ".join(f"{_BOUNDS[key][0]} {bound:g}" for key, bound in bounds.items())
        yield at, f"is {shown(value)}; it must be {words}", None


def _is_choice(value: object, name: str, choices: Sequence[Any]) -> bool:
    known = [choice.value for choice in choices]
    if name != "Literal" and isinstance(value, str):
        unify = str.upper if name == "Enum" else _without_dashes
        return unify(value) in {unify(str(each)) for each in known if isinstance(each, str)}
    return any(value == each and type(value) is type(each) for each in known)


def _without_dashes(text: str) -> str:
    return text.upper().replace("-", "_")


def _is_misspelt(value: object, part: ast.expr) -> bool:
    """A text beside choices is for classes, `package.module.Class`, not for other words."""
    return getattr(part, "beside_choices", False) and not set(str(value)) & set(".:/")


def _choices(part: ast.expr) -> list[Any]:
    name, inner = _outer(part)
    return [each.value for each in inner] if name in _CHOICES else []


def _outer(part: ast.expr) -> tuple[str, list[Any]]:
    """`list[int]` → `list`, [int]; `None` → `None`, []."""
    if isinstance(part, ast.Subscript):
        inner = part.slice.elts if isinstance(part.slice, ast.Tuple) else [part.slice]
        return ast.unparse(part.value), inner
    return ast.unparse(part), []


@cache
def _parsed(kind: str) -> tuple[ast.expr, ...]:
    """The parts of a union."""
    parts = list(_split(ast.parse(kind, mode="eval").body))
    if any(_outer(part)[0] in _CHOICES for part in parts):
        for part in parts:
            part.beside_choices = True  # type: ignore[attr-defined]
    return tuple(parts)


def _split(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp):
        yield from _split(node.left)
        yield from _split(node.right)
    else:
        yield node
