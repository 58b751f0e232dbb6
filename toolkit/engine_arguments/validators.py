"""Reads from syntax trees what vLLM's validators do with a value before its type is checked.

Validators unify spellings, accept null, and convert a text or a mapping to an object. It does not
know what the types mean (`declarations`).
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_TAKEN = {"str": "str", "dict": "dict", "list": "list"}


@dataclass(frozen=True, slots=True)
class Validator:
    """`any_case`: upper and lower case are the same, with `dashes` also `-` and `_`; `words` are
    texts beside the choices; `null` passes; `taken` are types that are rewritten; `keys` is the
    enum whose values the keys of a mapping must be; `unclear`: it cannot be read."""

    any_case: bool = False
    dashes: bool = False
    null: bool = False
    unclear: bool = False
    words: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    keys: str = ""

    def applied(self, kind: str, *, is_settings: bool) -> str:
        """The type of values that pass, for a field of type `kind`."""
        if self.unclear or kind == "Any":
            return "Any"
        if self.any_case:
            spelled = "Names[" if self.dashes else "Enum["
            kind = kind.replace("Literal[", spelled).replace("Enum[", spelled)
            more = "".join(f", {word!r}" for word in self.words)
            kind = kind.replace("]", f"{more}]", 1) if spelled in kind else kind
        else:
            parts = kind.split(" | ")
            for each in self.taken:
                if each not in parts and not (each == "dict" and (is_settings or "dict[" in kind)):
                    kind += f" | {each}"
        return f"{kind} | None" if self.null and "None" not in kind.split(" | ") else kind

    def joined(self, other: "Validator") -> "Validator":
        """Both of them, one after the other."""
        return Validator(
            self.any_case or other.any_case,
            self.dashes or other.dashes,
            self.null or other.null,
            self.unclear or other.unclear,
            self.words + other.words,
            self.taken + other.taken,
            self.keys or other.keys,
        )


def validators_of(node: ast.ClassDef) -> dict[str, Validator]:
    """The validator of each field of a class; `*` stands for every field."""
    found: dict[str, Validator] = {}
    for item in node.body:
        if not isinstance(item, ast.FunctionDef):
            continue
        for decorator in item.decorator_list:
            text = ast.unparse(decorator)
            if isinstance(decorator, ast.Call) and text.startswith("field_validator"):
                validator = _read(item, first="before" in text or "wrap" in text)
                for each in decorator.args:
                    if isinstance(each, ast.Constant) and validator != Validator():
                        field = str(each.value)
                        found[field] = found.get(field, Validator()).joined(validator)
    return found


def _read(function: ast.FunctionDef, *, first: bool) -> Validator:
    text = ast.unparse(function)
    folds = ".lower()" in text or ".upper()" in text
    # what runs after the check of the type can only unify the spelling
    if not first:
        return Validator(any_case=".lower()" in text and "return" in text and "raise" not in text)
    types = set(_tested_types(function))
    null = any(
        isinstance(each, ast.If | ast.IfExp) and ast.unparse(each.test).endswith(" is None")
        for each in ast.walk(function)
    )
    return Validator(
        any_case=folds,
        dashes="replace('-', '_')" in text,
        null=null,
        unclear=not types and not null,
        words=tuple(_words(function)),
        taken=tuple(_TAKEN[each] for each in sorted(types & set(_TAKEN))),
        keys=_keys(function),
    )


def _tested_types(function: ast.FunctionDef) -> Iterator[str]:
    """The types in `isinstance(value, …)` for the value itself, not for what is in it."""
    value = function.args.args[1].arg if len(function.args.args) > 1 else ""
    for each in ast.walk(function):
        if not isinstance(each, ast.Call) or ast.unparse(each.func) != "isinstance":
            continue
        if ast.unparse(each.args[0]) == value:
            yield from (name.id for name in ast.walk(each.args[1]) if isinstance(name, ast.Name))


def _words(function: ast.FunctionDef) -> Iterator[str]:
    """Texts for which the validator returns something of its own: `if value.lower() == "auto"`."""
    for each in ast.walk(function):
        if isinstance(each, ast.If) and isinstance(each.test, ast.Compare) and _returns(each):
            for word in each.test.comparators:
                if isinstance(word, ast.Constant) and isinstance(word.value, str):
                    yield word.value


def _returns(branch: ast.If) -> bool:
    return bool(branch.body) and isinstance(branch.body[0], ast.Return)


def _keys(function: ast.FunctionDef) -> str:
    """The enum in `{kind.value for kind in Kinds}`, to which keys are compared."""
    for each in ast.walk(function):
        if isinstance(each, ast.SetComp) and ast.unparse(each.elt).endswith(".value"):
            return ast.unparse(each.generators[0].iter)
    return ""
