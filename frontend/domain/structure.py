"""JSON schemas that requests bring, and what answers are held to."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SchemaUse:
    """A JSON schema that a request brought: for the arguments of `tool`, else for the answer.

    `path` is the field that it came in. `enforced`: the engine's grammar holds the model to it.
    `strict`: what breaks it all the same is an error; otherwise the client is warned.
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
