"""What answers must match: structures, the JSON schemas of a request, and how they are checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

StructureKind = Literal["json", "regex", "choice", "grammar", "json_object", "structural_tag"]


@dataclass(frozen=True, slots=True)
class Structure:
    """What the engine's grammar holds an answer to.

    `value` is a schema, the texts to choose from, a pattern or a grammar; `path` is the request's
    field that it came in, and `options` are settings of the engine's grammar by name.
    """

    kind: StructureKind | None
    value: Any
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchemaUse:
    """A JSON schema of a request: for the arguments of `tool`, else for the answer.

    `path` is the field that it came in. `enforced`: the engine's grammar holds the model to it.
    `strict`: an answer that does not match is an error; otherwise the client is warned.
    """

    path: str
    schema: dict[str, Any]
    tool: str | None = None
    strict: bool = True
    enforced: bool = True


@dataclass(frozen=True, slots=True)
class Expected:
    """A schema that was checked: finished texts are held to `source`, its canonical form."""

    use: SchemaUse
    source: bytes
    draft: str


@dataclass(frozen=True, slots=True)
class Held:
    """What the answers to a request are held to, and on whose behalf.

    `retries`: how often an answer may be generated again. `warnings` is where the client's go.
    """

    expected: tuple[Expected, ...]
    caller: str
    retries: int
    warnings: list[str]
