"""Functions that the client runs, and which of them the model may or must call."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Function:
    """A function that the model may call. `parameters` is the JSON schema of its arguments."""

    name: str
    parameters: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """The choice of the one function that the model must call."""

    name: str


Choice = Literal["auto", "none", "required"] | Named


@dataclass(frozen=True, slots=True)
class Tools:
    """The functions of a request. The model sees all that are `declared` and may call those that
    are `allowed`; `parallel` says whether it may make several calls in one turn."""

    declared: tuple[Function, ...]
    allowed: tuple[Function, ...]
    choice: Choice = "auto"
    parallel: bool | None = None
