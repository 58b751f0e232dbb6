"""Every place of a request where its caller can write, found in the declarations of the bodies.

Each place gets a word of its own, so that a word that is found anywhere tells its place. A field
that is added to a body, and a route that is added to the table, are places without a change here.
A declaration that is not part of a declared body must be named in `READ_BY_HAND`.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import Struct, inspect

import frontend.dialects
from frontend.openapi.operations import OPERATIONS, Operation

WORD = "@word@"
"""Stands for the word of a place."""
_MODELS = {"chat": "echo", "completion": "echo", "embedding": "echo-embedding"}
_MODELS |= {"image": "echo-diffusion"}
_PARAMETER = re.compile(r"\{(\w+)\}")
_MORE: dict[str, dict[str, Any]] = {
    # a stored response is kept because its client asks for that
    "/v1/responses": {"store": False},
    "/v1/messages": {"max_tokens": 8},
    "/tokenize": {"model": "echo", "prompt": "x"},
    "/detokenize": {"model": "echo", "tokens": [1]},
}
Wrap = Callable[[Any], dict[str, Any]]


def _turn(content: Any, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": content}]


# in lists that a dialect reads item by item: where such an object is, in the body of which route
READ_BY_HAND: dict[str, tuple[str, Wrap]] = {
    "items._MessageItem": ("/v1/responses", lambda one: {"input": [{"role": "user"} | one]}),
    "items._AssistantItem": ("/v1/responses", lambda one: {"input": [one | {"role": "assistant"}]}),
    "items._CallItem": ("/v1/responses", lambda one: {"input": [one | {"type": "function_call"}]}),
    "items._ResultItem": (
        "/v1/responses",
        lambda one: {"input": [one | {"type": "function_call_output"}]},
    ),
    "items._ReasoningItem": ("/v1/responses", lambda one: {"input": [one | {"type": "reasoning"}]}),
    "items._ReasoningText": (
        "/v1/responses",
        lambda one: {"input": [{"type": "reasoning", "content": [one]}]},
    ),
    "items._InputText": (
        "/v1/responses",
        lambda one: {"input": _turn([one | {"type": "input_text"}])},
    ),
    "items._InputImage": (
        "/v1/responses",
        lambda one: {"input": _turn([one | {"type": "input_image"}])},
    ),
    "items._OutputText": (
        "/v1/responses",
        lambda one: {"input": _turn([one | {"type": "output_text"}], "assistant")},
    ),
    "items._Refusal": (
        "/v1/responses",
        lambda one: {"input": _turn([one | {"type": "refusal"}], "assistant")},
    ),
    "messages._SaidText": (
        "/v1/chat/completions",
        lambda one: {"messages": _turn([one], "assistant")},
    ),
    "messages._SaidRefusal": (
        "/v1/chat/completions",
        lambda one: {"messages": _turn([one], "assistant")},
    ),
    "blocks._SaidText": ("/v1/messages", lambda one: {"messages": _turn([one], "assistant")}),
    "blocks._Thinking": ("/v1/messages", lambda one: {"messages": _turn([one], "assistant")}),
    "blocks._Call": ("/v1/messages", lambda one: {"messages": _turn([one], "assistant")}),
    "blocks.DocumentBlock": ("/v1/messages", lambda one: {"messages": _turn([one])}),
    "blocks.DocumentSource": (
        "/v1/messages",
        lambda one: {"messages": _turn([{"type": "document", "source": one}])},
    ),
    "blocks.Citations": (
        "/v1/messages",
        lambda one: {"messages": _turn([{"type": "document", "citations": one}])},
    ),
    "models.PullBody": ("/api/pull", lambda one: one),
}


Value = tuple[str, Any]
"""The path to a place, and a value that has the word there."""


def requests(operations: Iterable[Operation]) -> Iterator[tuple[str, str, str, Any]]:
    """(where, method, URL, body): one request for each place of the operations."""
    for one in operations:
        start = f"{one.method} {one.path}"
        for name in _PARAMETER.findall(one.path):
            yield f"{start} {{{name}}}", one.method, one.path.replace(f"{{{name}}}", WORD), None
        for name in (*one.query, WORD):
            yield f"{start} ?{name}", one.method, f"{_plain(one.path)}?{name}={WORD}", None
        if one.body is None:
            if one.method in ("POST", "PATCH"):
                yield f"{start} {{}}", one.method, _plain(one.path), {WORD: WORD}
            continue
        whole = {**least(inspect.type_info(one.body)), **_MORE.get(one.path, {})}
        whole |= {"model": _MODELS[one.kind]} if one.kind in _MODELS else {}
        whole |= one.example or {}
        for path, body in places(inspect.type_info(one.body), whole):
            yield f"{start} {path}", one.method, _plain(one.path), body
    yield from _by_hand({one.path for one in operations})


def _by_hand(paths: set[str]) -> Iterator[tuple[str, str, str, Any]]:
    for kind in declarations() - declared():
        name = name_of(kind)
        if name not in READ_BY_HAND or READ_BY_HAND[name][0] not in paths:
            continue
        path, wrap = READ_BY_HAND[name]
        for place, value in places(inspect.type_info(kind)):
            if isinstance(value, dict):
                body = {"model": "echo", **_MORE.get(path, {}), **wrap(value)}
                yield f"POST {path} {name} {place}", "POST", path, body


def places(
    info: inspect.Type, base: Any = None, path: str = "", outer: tuple[type, ...] = ()
) -> Iterator[Value]:
    """Each place of a type once. Where it does not take text, the word is there anyway.
    `base` is a valid value of the type. Default: the smallest."""
    yield path, WORD
    for one in _members(info):
        if isinstance(one, inspect.StrType | inspect.AnyType):
            yield f"{path} URL", f"https://user:{WORD}@127.0.0.1/{WORD}.png?sig={WORD}"
        if isinstance(one, inspect.DictType | inspect.AnyType):
            yield f"{path}{{}}", {WORD: 1}
            yield f"{path}.k.k", {"k": [{"k": WORD}]}
            yield f"{path}.schema", {"type": "object", "properties": {WORD: {"description": WORD}}}
        elif isinstance(one, inspect.ListType):
            for place, value in places(one.item_type, None, f"{path}[]", outer):
                yield place, [value]
        elif isinstance(one, inspect.StructType) and one.cls not in outer:
            base = least(one) if base is None or path else base
            yield f"{path}{{unknown}}", {**base, WORD: WORD}
            if one.tag_field is not None:
                yield f"{path}.{one.tag_field}", {**base, one.tag_field: WORD}
            for each in one.fields:
                place = f"{path}.{each.encode_name}"
                for where, value in places(each.type, None, place, (*outer, one.cls)):
                    yield where, {**base, each.encode_name: value}


def least(info: inspect.Type) -> Any:
    """The smallest value of a type."""
    first = _members(info)[0]
    if isinstance(first, inspect.StructType):
        tag = {} if first.tag_field is None else {first.tag_field: first.tag}
        return tag | {one.encode_name: least(one.type) for one in first.fields if one.required}
    if isinstance(first, inspect.ListType):
        return [least(first.item_type)]
    if isinstance(first, inspect.LiteralType):
        return first.values[0]
    if isinstance(first, inspect.IntType | inspect.FloatType):
        return first.ge or 1
    plain = {inspect.BoolType: False, inspect.DictType: {}, inspect.CustomType: False}
    return plain.get(type(first), "x")


def declarations() -> set[type[Struct]]:
    """Every declaration in the dialects but those that others are made of."""
    found: set[type[Struct]] = set()
    for module in pkgutil.walk_packages(frontend.dialects.__path__, "frontend.dialects."):
        values = vars(importlib.import_module(module.name)).values()
        found |= {one for one in values if isinstance(one, type) and issubclass(one, Struct)}
    return {one for one in found if not any(one in other.__mro__[1:] for other in found)} | {
        one for one in declared() if one in found
    }


def declared() -> set[type[Struct]]:
    """Those that the bodies of operations refer to."""
    seen: set[type[Struct]] = set()
    pending = [inspect.type_info(one.body) for one in OPERATIONS if one.body is not None]
    while pending:
        for one in _members(pending.pop()):
            if isinstance(one, inspect.ListType):
                pending.append(one.item_type)
            elif isinstance(one, inspect.StructType) and one.cls not in seen:
                seen.add(one.cls)
                pending += [each.type for each in one.fields]
    return seen


def name_of(kind: type) -> str:
    """The declaration's name in `READ_BY_HAND`."""
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"


def _members(info: inspect.Type) -> list[inspect.Type]:
    """The types that a value may have, with those that the document shows instead."""
    if isinstance(info, inspect.Metadata):
        shown = [inspect.type_info(one) for one in (info.extra or {}).get("shown_as", ())]
        return [*_members(info.type), *(each for one in shown for each in _members(one))]
    if isinstance(info, inspect.UnionType):
        return [each for one in info.types for each in _members(one)]
    return [] if isinstance(info, inspect.NoneType) else [info]


def _plain(path: str) -> str:
    return _PARAMETER.sub("1", path)
