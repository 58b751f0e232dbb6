"""The base class of the kinds of models, which are the other modules in this folder.

Each kind's module defines its fields in models.yaml, its steps and their configs, how its weights
are obtained, and its requirements. The toolkit does not list kinds elsewhere (`toolkit.kinds` finds
them).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

from toolkit.contract import BACKENDS, GRAPH, Interface
from toolkit.engine_arguments import Engine
from toolkit.facts import Facts
from toolkit.fields.entry import BaseEntry
from toolkit.fields.source import Source
from toolkit.finding import FieldFinding
from toolkit.kinds.conversion import Conversion
from toolkit.kinds.files import Files
from toolkit.kinds.parts import Model
from toolkit.targets import Target

KEEP = ".gitkeep"
"""Git keeps no empty folder, and Triton wants one per version."""
Estimate = Literal["engine", "encoder", "pipeline", "process", ""]
"""What `toolkit fit` estimates: a language engine, an encoder, a diffusion pipeline, a process of a
user's own code, or nothing, where the steps of a model are models of the file themselves."""
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
class Rounding:
    """How `toolkit quantize` makes the graphs of a kind smaller: the steps in `int8` become 8 bit
    (fp16 is for all graphs), and `measure` is what the result is judged by. `fixed_ranges`: ranges
    of activations that are calibrated once hold for every request."""

    measure: Literal["vectors", "images"]
    int8: tuple[str, ...]
    fixed_ranges: bool


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
    """The context of an entry's checks. `target` is None until it is chosen; `file` is the file."""

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
    `estimate` is one of `Estimate`. `not_here` gives the reason for each field of
    other kinds that this one does not have. `code_files` is what a version of the model holds.
    `weights` is what its weights are called in messages, "" where any files will do; `reads_gguf`:
    they may be a GGUF file. `default_context` are the tokens of a model that is served by its name,
    None where requests have no length. `rounding` is None where graphs are not quantized.
    `exporter` is the module that writes ONNX where the kind itself serves another format. `loaded`
    is the folder of converted weights whose format is the source's own, "" where there is none.
    """

    name: str
    position: int
    entry: type[E]
    facts: type[F] | None = None
    wide: F | None = None
    interface: Interface | None = None
    steps: tuple[KindStep, ...] = ()
    estimate: Estimate = ""
    title: str = ""
    example: str = ""
    in_starter: bool = False
    hints: str = ""
    not_here: Mapping[str, str] = {}
    code_files: tuple[str, ...] = (KEEP,)
    weights: str = ""
    reads_gguf: bool = False
    default_context: int | None = None
    rounding: Rounding | None = None
    exporter: str = ""
    loaded: str = ""

    @property
    def tokenizing(self) -> str | None:
        """The step that has the tokenizer."""
        # by the files of its backend, so that a new kind need not say it
        names = (step.name for step in self.steps if "tokenizer/" in BACKENDS[step.backend].files)
        return next(names, None)

    @property
    def graphs(self) -> list[str]:
        """The steps that are an ONNX graph."""
        return [step.name for step in self.steps if GRAPH in BACKENDS[step.backend].files]

    @property
    def needs_context(self) -> bool:
        """Whether an entry must say how many tokens a request has at most."""
        length = self.entry.model_fields.get("context_length")
        return length is not None and length.is_required()

    def adapters(self, entry: E) -> Mapping[str, Sourced]:
        """Weights served beside the model's own, by the names that clients ask for. Facts of such
        a kind have a field `adapters`."""
        return {}

    def chat_template(self, entry: E) -> str | None:
        """The file of a chat template that replaces the model's own."""
        return None

    def quantization(self, entry: E) -> str | None:
        """The number type that a build quantizes the entry's weights to; None if it does not."""
        return None

    def recognizes(self, files: Files, engine: Engine | None) -> bool:
        """Whether the files of a checkpoint say that it is of this kind. At most one kind answers
        True. `engine` knows architectures by name."""
        return False

    def accepts(self, files: Files, engine: Engine | None) -> bool:
        """Whether an entry may serve weights that do not say that they are of this kind."""
        return False

    def not_loaded(self, files: Files, engine: Engine) -> tuple[str, str] | None:
        """A description of weights that `engine` does not load, and what to do instead."""
        return None

    def conversion(self, source: Path) -> Conversion:
        """The conversion of weights at `source`."""
        raise NotImplementedError

    def check_weights(self, entry: E, facts: F | None, weights: Path | None) -> None:
        """Raises ConvertError for settings of the entry that its weights cannot serve. `weights` is
        the folder that is loaded; what is not known yet is None."""

    def models(self, entry: E, facts: F, building: Building) -> list[Model]:
        """The public model first, then its steps. Raises ConvertError when the entry asks for more
        than the weights can do."""
        raise NotImplementedError

    def loader(self, entry: E, target: Target) -> Engine | None:
        """The vLLM that loads the weights unchanged; None if they are converted."""
        return None

    def findings(self, name: str, entry: E, around: Surroundings) -> Iterator[FieldFinding]:
        """The errors of the entry as a whole; single values have been checked before."""
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
        """The models that an entry names as its own steps."""
        return []

    def files(self, entry: E) -> dict[str, str]:
        """Texts to write into the model's folder: name → content."""
        return {}
