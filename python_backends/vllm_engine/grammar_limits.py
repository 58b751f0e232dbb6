"""Limits of a request's grammar, and the checks of its text.

A schema, a regular expression or a grammar is a program from a client. Its cost cannot be derived
from its text, so it is measured in a separate process (grammar_process.py). Pure.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from python_backends.errors import InvalidInput
from python_backends.triton import Settings

MAX_DEPTH = 64
_ARRAYS = ("uniqueItems", "contains", "minContains", "maxContains")
_LENGTHS = frozenset({"minLength", "maxLength"})
_FORMATS = frozenset(
    {
        *("email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid"),
        *("uri", "uri-reference", "uri-template", "json-pointer", "relative-json-pointer"),
    }
)
_LITERALS = frozenset({"enum", "const", "default", "examples", "example", "required"})
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


@dataclass(frozen=True, slots=True)
class GrammarLimits:
    """Limits of one engine's grammars; each is a parameter of the step's config."""

    grammar_bytes: int = 131_072
    grammar_compile_s: float = 10.0
    grammar_memory_mb: int = 1024
    grammar_mask_ms: int = 100
    grammar_share_ms: int = 5
    grammar_compiles: int = 4
    grammar_processes: int = 64
    grammar_whitespace: int = 16

    @classmethod
    def read(cls, settings: Settings) -> Self:
        """Reads the step's parameters. Raises ValueError for a number that is not positive."""
        given = {
            name: type(default)(settings.real(name, default))
            for name, default in asdict(cls()).items()
        }
        for name, value in given.items():
            if value <= 0:
                raise ValueError(
                    f"parameter '{name}' of model '{settings.model}' is {value}; it must be"
                    " positive"
                )
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Grammar:
    """A constraint on a reply. `kind` is vLLM's name of it, `text` its source."""

    kind: str
    text: str

    @property
    def param(self) -> str:
        return f"structured_outputs.{self.kind}"


def read_grammar(structured: Mapping[str, Any], limits: GrammarLimits) -> Grammar:
    """Reads the one constraint in `fields` of vLLM's StructuredOutputsParams.

    Raises InvalidInput for a grammar that is too large or invalid, or that uses keywords which the
    compiler would silently ignore.
    """
    # exactly one: `Sampler` has checked it
    ((kind, value),) = ((k, v) for k, v in structured.items() if k in _READERS and v is not None)
    grammar = Grammar(kind, _READERS[kind](value, f"structured_outputs.{kind}", limits))
    try:
        size = len(grammar.text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"the grammar of the reply contains U+{ord(error.object[error.start]):04X}, half of a"
            " surrogate pair, which is not a character",
            code="invalid_grammar",
            param=grammar.param,
        ) from None
    if size > limits.grammar_bytes:
        raise InvalidInput(
            f"the grammar of the reply has {size} bytes, more than the maximum of"
            f" {limits.grammar_bytes}",
            code="grammar_too_large",
            param=grammar.param,
        )
    return grammar


def _json(value: Any, param: str, _: GrammarLimits) -> str:
    schema = _parsed(value, param)
    _check_schema(schema, param)
    return json.dumps(schema, ensure_ascii=False)


def _json_object(value: Any, param: str, _: GrammarLimits) -> str:
    if value is not True:
        raise InvalidInput("'json_object' must be true if it is sent", param=param)
    return '{"type": "object"}'


# NUL separates kind and text in the digest of a grammar, and ends C strings
def _text(value: Any, param: str, _: GrammarLimits) -> str:
    if not isinstance(value, str) or "\0" in value or not value.strip():
        raise InvalidInput(f"'{param}' must be text, without the character NUL", param=param)
    return value


def _regex(value: Any, param: str, _: GrammarLimits) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise InvalidInput(f"'{param}' must be text, without the character NUL", param=param)
    return value


def _choice(value: Any, param: str, _: GrammarLimits) -> str:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise InvalidInput(f"'{param}' must be a list of at least one string", param=param)
    return "root ::= " + " | ".join(f'"{_escaped(one)}"' for one in value)


def _escaped(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return "".join(
        escapes.get(one, one if ord(one) >= 0x20 and ord(one) != 0x7F else f"\\u{ord(one):04x}")
        for one in text
    )


def _structural_tag(value: Any, param: str, limits: GrammarLimits) -> str:
    """JSON formats get a limit on whitespace: without one some models write whitespace forever."""
    tag = _parsed(value, param)
    for depth, node in _walk(tag):
        if depth > 2 * MAX_DEPTH:
            raise _too_deep(param)
        is_format = node.get("type") == "json_schema" and "json_schema" in node
        if is_format and node.get("max_whitespace_cnt") is None:  # vLLM's tags say null
            node["max_whitespace_cnt"] = limits.grammar_whitespace
    return json.dumps(tag, ensure_ascii=False)


_READERS = {
    "json": _json,
    "regex": _regex,
    "choice": _choice,
    "grammar": _text,
    "json_object": _json_object,
    "structural_tag": _structural_tag,
}


def _parsed(value: Any, param: str) -> Any:
    try:
        schema = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"'{param}' is not valid JSON: {error}", param=param) from error
    if not isinstance(schema, dict | bool):
        raise InvalidInput(f"'{param}' must be a JSON object", param=param)
    return schema


def _too_deep(param: str) -> InvalidInput:
    return InvalidInput(
        f"the JSON schema is nested deeper than {MAX_DEPTH} levels",
        code="grammar_too_large",
        param=param,
    )


def _walk(value: Any, depth: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every object in a value; not recursive, because clients choose the depth."""
    waiting = [(depth, value)]
    while waiting:
        level, one = waiting.pop()
        if level > 2 * MAX_DEPTH:
            yield level, {}
            return
        if isinstance(one, dict):
            yield level, one
            waiting += [(level + 1, inner) for inner in one.values()]
        elif isinstance(one, list):
            waiting += [(level + 1, inner) for inner in one]


def _check_schema(schema: Any, param: str) -> None:
    """Refuses keywords that xgrammar ignores: replies would not match the schema."""
    # not recursive, because clients choose the depth
    waiting: list[tuple[int, str, Any]] = [(0, "", schema)]
    while waiting:
        depth, path, node = waiting.pop()
        if depth > MAX_DEPTH:
            raise _too_deep(param)
        if not isinstance(node, dict):
            continue
        if keyword := _unenforced(node):
            raise InvalidInput(
                f"the keyword '{keyword}' at '{path or '.'}' of the JSON schema cannot be"
                " enforced here; leave it out",
                code="unsupported_schema",
                param=f"{param}{path}.{keyword}"[:200],
            )
        for name, value in node.items():
            # values, not schemas: a property of an example may be called "contains"
            if name in _LITERALS:
                continue
            inner = value.items() if name in _NAMED and isinstance(value, dict) else None
            if inner is not None:
                waiting += [(depth + 1, f"{path}.{name}.{k[:40]}", one) for k, one in inner]
            elif isinstance(value, dict):
                waiting.append((depth + 1, f"{path}.{name}", value))
            elif isinstance(value, list):
                waiting += [(depth + 1, f"{path}.{name}[{i}]", v) for i, v in enumerate(value)]


def _unenforced(node: Mapping[str, Any]) -> str | None:
    """The first keyword of a schema that xgrammar 0.2.8 accepts but does not enforce."""
    kinds = node.get("type")
    types = {kinds} if isinstance(kinds, str) else set(kinds) if isinstance(kinds, list) else set()
    if types & {"integer", "number"} and "multipleOf" in node:
        return "multipleOf"
    if "array" in types and (keyword := next((k for k in _ARRAYS if k in node), None)):
        return keyword
    if "string" in types:
        if "format" in node and node["format"] not in _FORMATS:
            return "format"
        if ("pattern" in node or "format" in node) and _LENGTHS & node.keys():
            return next(iter(sorted(_LENGTHS & node.keys())))
    if "object" in types:
        names, patterns = node.get("propertyNames"), node.get("patternProperties")
        others = ("properties", "patternProperties", "unevaluatedProperties")
        if names is not None and any(other in node for other in others):
            return "propertyNames"
        if isinstance(patterns, dict) and (len(patterns) > 1 or "properties" in node):
            return "patternProperties"
    if isinstance(node.get("allOf"), list) and len(node["allOf"]) > 1:
        return "allOf"
    return None
