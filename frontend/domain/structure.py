"""The formats that answers must have: structures, and the JSON schemas of a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

StructureKind = Literal["json", "regex", "choice", "grammar", "json_object", "structural_tag"]


@dataclass(frozen=True, slots=True)
class Structure:
    """The format that the engine's grammar enforces on an answer.

    `value` is a schema, the texts to choose from, a pattern or a grammar; `path` is the request's
    field that it came in; `options` are settings of the engine's grammar by name.
    """

    kind: StructureKind | None
    value: Any
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchemaUse:
    """A JSON schema of a request: for the arguments of `tool`, else for the answer.

    `path` is the field that it came in. `enforced`: the engine's grammar enforces it.
    `strict`: an answer that does not match is an error; otherwise the client is warned.
    """

    path: str
    schema: dict[str, Any]
    tool: str | None = None
    strict: bool = True
    enforced: bool = True


@dataclass(frozen=True, slots=True)
class Expected:
    """A schema that was checked. Finished texts must match `source`, its canonical form."""

    use: SchemaUse
    source: bytes
    draft: str


@dataclass(frozen=True, slots=True)
class Validation:
    """How the answers to a request are checked, and on whose behalf.

    `retries`: how often an answer may be generated again. `warnings` collects those for the client.
    """

    expected: tuple[Expected, ...]
    caller: str
    retries: int
    warnings: list[str]
