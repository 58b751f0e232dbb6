"""The parts of a kind's models: tensors, steps, ensembles.

Plain data about one model each; `toolkit.repository` writes Triton's configs from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.fields.serving import (
    Batching,
    Instances,
    Part,
    Priority,
    VersionPolicy,
    WarmUp,
    WarmUpInput,
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """`type` as Triton writes it without TYPE_; `dims` exclude the batch, -1 is any length."""

    name: str
    type: str
    dims: tuple[int, ...]
    optional: bool = False
    ragged: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """The settings in models.yaml for how one model runs; empty means the kind's defaults."""

    instances: tuple[Instances, ...] | None = None
    batching: Batching | None = None
    priority: Priority | None = None
    warmup: tuple[WarmUp, ...] = ()
    response_cache: bool = False
    version_policy: VersionPolicy | None = None

    @classmethod
    def part(cls, part: Part | None) -> "Running":
        """The settings of a step other than the main one."""
        if part is None:
            return cls()
        # zeros for every tensor; a kind may put texts in their place
        requests = (WarmUp(),) if part.warmup else ()
        return cls(part.instances, part.batching, warmup=requests)


@dataclass(frozen=True, slots=True)
class Step:
    """A model that a backend runs: its inputs and outputs, and the parameters of its backend.

    `environment` is the Python environment, None for the server's own; `device` is where it runs
    unless models.yaml says otherwise: `cpu`, `gpu`, or `model` where the backend decides.
    """

    name: str
    environment: str | None
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    parameters: Mapping[str, object] = field(default_factory=dict)
    backend: str = "python"
    instances: int = 1
    max_batch_size: int = 0
    decoupled: bool = False
    batches: bool = False
    device: str = "cpu"
    running: Running = field(default_factory=Running)


@dataclass(frozen=True, slots=True)
class Route:
    """One step of an ensemble; inputs and outputs map the step's names to the ensemble's."""

    step: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    version: int = -1

    @classmethod
    def same(cls, step: Step, inputs: Sequence[str], outputs: Sequence[str]) -> "Route":
        """A route whose tensors have the same names inside and outside."""
        return cls(step.name, {name: name for name in inputs}, {name: name for name in outputs})


@dataclass(frozen=True, slots=True)
class Ensemble:
    """An ensemble: its own tensors, its routes, and the parameters that describe it."""

    name: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    routes: Sequence[Route]
    parameters: Mapping[str, object] = field(default_factory=dict)
    max_batch_size: int = 0
    decoupled: bool = False
    running: Running = field(default_factory=Running)


Model = Step | Ensemble


def with_text(requests: tuple[WarmUp, ...], **texts: str) -> tuple[WarmUp, ...]:
    """The same warm-up requests with these texts, for kinds whose tensors the toolkit knows."""
    values = {name: WarmUpInput(text=text) for name, text in texts.items()}
    return tuple(request.model_copy(update={"inputs": values}) for request in requests)
