"""What a kind of model is: the base of the kinds, one module each beside this one.

A kind says everything about itself in its own module: its fields in models.yaml, its steps and
their configs, how its weights are obtained and what it needs of a machine. Nothing else in the
toolkit lists kinds (`toolkit.kinds` finds them).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from toolkit.contract import BACKENDS, Interface
from toolkit.engine_arguments import Engine
from toolkit.facts import Facts
from toolkit.fields.entry import BaseEntry
from toolkit.fields.source import Source
from toolkit.finding import FieldFinding
from toolkit.kinds.parts import Model
from toolkit.targets import Target

KEEP = ".gitkeep"
"""Git keeps no empty folder, and Triton wants one per version."""
WIDE = 2**31
"""Tokens: the context length of weights that are not known yet."""
E = TypeVar("E", bound=BaseEntry)
F = TypeVar("F", bound=Facts)


class Sourced(Protocol):
    """Weights that an entry names: where they come from, and the digest that they must have."""

    @property
    def digest(self) -> str | None: ...

    @property
    def origin(self) -> Source: ...


@dataclass(frozen=True, slots=True)
class KindStep:
    """A step `<model>.<name>`. `backend` is its folder of python_backends; with `native`, a server
    that runs ONNX graphs itself needs no code of ours."""

    name: str
    backend: str
    native: bool = False
    decoupled: bool = False


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A model `<owner>.<step>` of a repository. `backend` is None for a graph that the server runs
    by itself; `files` are files and folders (with a slash) of its version that hold weights, taken
    from the part `source` of the converted weights (by default `step`'s own), and `texts` further
    files: name → content."""

    owner: str
    step: str
    backend: str | None
    files: tuple[str, ...]
    source: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name."""
        return f"{self.owner}.{self.step}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an entry is checked with; `target` is None until one is chosen; `file` is the file."""

    entries: Mapping[str, BaseEntry]
    folder: Path
    target: Target | None
    file: str


@dataclass(frozen=True, slots=True)
class Building:
    """The model being built. `public` are the parameters that every public model has; `others` all
    entries by name."""

    name: str
    public: Mapping[str, object]
    target: Target
    others: Mapping[str, BaseEntry]


class Kind(Generic[E, F]):
    """Base of all kinds. `position` orders them in lists and pages; `title` and `example` (a small
    source) are offered by `toolkit init`, which takes the example of those `in_starter` when no
    source is given; `hints` are comments below such an entry.

    `wide` are facts that stand for weights which are not known yet: nothing exceeds them.
    `estimate` names the estimate of `toolkit fit`. `not_here` gives the reason for each field of
    other kinds that this one does not have. `code_files` is what a version of the model holds.
    """

    name: str
    position: int
    entry: type[E]
    facts: type[F] | None = None
    wide: F | None = None
    interface: Interface | None = None
    steps: tuple[KindStep, ...] = ()
    estimate: str = ""
    title: str = ""
    example: str = ""
    in_starter: bool = False
    hints: str = ""
    not_here: Mapping[str, str] = {}
    code_files: tuple[str, ...] = (KEEP,)

    @property
    def tokenizing(self) -> str | None:
        """The step that has the tokenizer."""
        # by the files of its backend, so that a new kind need not say it
        names = (step.name for step in self.steps if "tokenizer/" in BACKENDS[step.backend].files)
        return next(names, None)

    def adapters(self, entry: E) -> Mapping[str, Sourced]:
        """Weights served beside the model's own, by the names that clients ask for."""
        return {}

    def conversion(self, source: Path) -> str:
        """The name of the conversion (`toolkit.convert.recipes`) for weights at `source`."""
        raise NotImplementedError

    def models(self, entry: E, facts: F, building: Building) -> list[Model]:
        """The public model first, then its steps. Raises ConvertError when the entry asks for more
        than the weights can do."""
        raise NotImplementedError

    def loader(self, entry: E, target: Target) -> Engine | None:
        """The vLLM that loads the weights as they are; None where they are converted."""
        return None

    def findings(self, name: str, entry: E, around: Surroundings) -> Iterator[FieldFinding]:
        """What is wrong with the entry as a whole; single values have been checked."""
        yield from ()

    def plan(self, name: str, entry: E, target: Target) -> list[StepPlan]:
        """The models behind the public one."""
        return [self.plan_step(step.name, name, target) for step in self.steps]

    def plan_step(
        self, step: str, owner: str, target: Target, further: tuple[str, ...] = ()
    ) -> StepPlan:
        """One step of `owner`; `further` are files beside those that its backend needs."""
        found = next(each for each in self.steps if each.name == step)
        # an image with onnxruntime runs the graph itself; no code of ours is copied
        backend = None if found.native and target.native_onnx else found.backend
        return StepPlan(owner, step, backend, (*BACKENDS[found.backend].files, *further))

    def public_names(self, name: str, entry: E) -> tuple[str, ...]:
        """All names that clients may ask for as models of their own, `name` first."""
        return (name, *self.adapters(entry))

    def is_decoupled(self, entry: E, others: Mapping[str, BaseEntry]) -> bool:
        """Whether one request may have any number of responses."""
        return self.interface is not None and self.interface.decoupled

    def parts_of(self, entry: E) -> list[str]:
        """The models that an entry consists of where it names them itself."""
        return []

    def files(self, entry: E) -> dict[str, str]:
        """Texts to write into the model's folder: name → content."""
        return {}
