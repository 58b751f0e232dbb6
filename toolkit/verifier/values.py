"""Compares each value in a config's tree with the type of its field in the protobuf descriptor.

It reports all wrong values, whereas protobuf's parser stops at the first. Protobuf still parses
the config afterwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from toolkit.names import close_matches
from toolkit.verifier.tree import Entry

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_USUAL_NAMES = {
    "FLOAT": "FP32",
    "FLOAT32": "FP32",
    "FLOAT16": "FP16",
    "HALF": "FP16",
    "DOUBLE": "FP64",
    "FLOAT64": "FP64",
    "BYTES": "STRING",
    "INT": "INT32",
    "LONG": "INT64",
    "BFLOAT16": "BF16",
}
"""Names of types in other frameworks → the end of Triton's names."""
_BOOLS = {"true", "True", "t", "1", "false", "False", "f", "0"}


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value of the wrong type or out of range."""

    entry: Entry
    path: str
    text: str
    fix: str


def misfits(entry: Entry, message: Descriptor, path: str = "") -> Iterator[Misfit]:
    """All wrong values in `entry`; unknown fields are skipped."""
    counts: dict[str, int] = {}
    for child in entry.children or []:
        index = counts[child.name] = counts.get(child.name, -1) + 1
        field = message.fields_by_name.get(child.name)
        if field is None:
            continue
        here = f"{path}{child.name}" + (f"[{index}]" if field.is_repeated else "")
        if misfit := _misfit(child, field):
            yield Misfit(child, here, *misfit)
        elif isinstance(field.message_type, Descriptor):
            yield from misfits(child, field.message_type, f"{here}.")


def _misfit(entry: Entry, field: FieldDescriptor) -> tuple[str, str] | None:
    """Text and fix, or None."""
    is_message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
    if is_message != (entry.children is not None):
        return _misshapen(entry, field)
    if is_message:
        return None
    kind, text = entry.value[-1].kind, entry.text()
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        fix = f'write {field.name}: "{text}"'
        return (
            None
            if kind == "string"
            else (f"{field.name} is a string, but {text} has no quotes", fix)
        )
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return _enum(kind, text, field)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        fits = kind != "string" and text in _BOOLS
        shown = f'"{text}"' if kind == "string" else text
        wrong = f"{field.name} must be true or false, not {shown}", "write true or false"
        return None if fits else wrong
    return _number(kind, text, field)


def _misshapen(entry: Entry, field: FieldDescriptor) -> tuple[str, str]:
    name, inner = field.name, field.message_type
    if not isinstance(inner, Descriptor):
        return f"{name} is a single value, not a message", f"write {name}: …"
    text = entry.text()
    first = next(iter(inner.fields)).name if inner.fields else ""
    shown = f'{first}: "{text}"' if first == "string_value" else f"{first}: …"
    return f"{name} is a message, not a single value", f"write {name} {{ {shown} }}"


def _enum(kind: str, text: str, field: FieldDescriptor) -> tuple[str, str] | None:
    assert field.enum_type is not None
    names = [value.name for value in field.enum_type.values]
    if kind == "word" and text in names:
        return None
    if kind == "string" and text in names:
        return (
            f'{field.name} must be written without quotes, not "{text}"',
            f"write {field.name}: {text}",
        )
    if kind == "number" and text.isdigit():
        return None  # protobuf checks the number
    text_as = _USUAL_NAMES.get(text.upper().removeprefix("TYPE_"), text)
    near = close_matches(text_as.upper(), names, 1, 0.4)
    ends = [name for name in names if name.endswith(f"_{text_as.upper()}")]
    best = (ends or near or [""])[0]
    fix = f"did you mean {best}?" if best else f"write one of {', '.join(names)}"
    return f"{text} is not a valid {field.enum_type.name}", fix


def _number(kind: str, text: str, field: FieldDescriptor) -> tuple[str, str] | None:
    if kind == "string":
        return (
            f'{field.name} must be a number, but "{text}" is a string',
            f"write {field.name}: {text}",
        )
    if field.cpp_type not in _INTEGERS:
        return None
    try:
        # base 0 reads hexadecimal numbers, too
        number = int(text, 0)
    except ValueError:
        return (
            f"{field.name} must be an integer, not {text}",
            f"write an integer, such as {field.name}: 1",
        )
    low, high = _INTEGERS[field.cpp_type]
    if low <= number <= high:
        return None
    return f"{field.name} is {number}; the range is {low} to {high}", "write a number in this range"
