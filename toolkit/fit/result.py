"""The question and the answer of `toolkit fit`: plain data."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from toolkit.finding import Finding, Severity
from toolkit.fit.devices import Device
from toolkit.fit.estimate import TRITON_BYTES, LlmNeed, StepsNeed
from toolkit.fit.placement import Demand, Placement
from toolkit.spec import Spec
from toolkit.targets import Target


@dataclass(frozen=True, slots=True)
class Question:
    """The input: models and a machine. `host_bytes` is the memory that may be used;
    `sequences` of full context run at once in each language model, None for the engine's own."""

    spec: Spec
    target: Target
    devices: Sequence[Device]
    host_bytes: int
    cores: int
    avx512: bool
    shm_bytes: int
    sequences: int | None = None
    offline: bool = False


@dataclass(slots=True)
class EngineFit:
    """The engine of a language model. `need` and `cache_bytes` are bytes of one device."""

    demand: Demand
    need: LlmNeed
    placement: Placement | None = None
    cache_bytes: int = 0
    sequences: float = 0.0
    """How many requests of full context fit into the cache."""


@dataclass(slots=True)
class ModelFit:
    """One model. Its bytes are on the host; `engine` has those of devices."""

    name: str
    kind: str
    host_bytes: int
    shm_bytes: int
    threads: int
    steps: StepsNeed | None = None
    engine: EngineFit | None = None
    findings: list[Finding] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    @property
    def need(self) -> LlmNeed | StepsNeed | None:
        """The memory of one device, or of all steps; None for code that only its author knows."""
        return self.steps if self.engine is None else self.engine.need

    @property
    def weights_bytes(self) -> int | None:
        """The weights of the whole model; None if they are not known."""
        if self.engine is not None:
            return self.engine.demand.weights
        return None if self.steps is None else self.steps.weights


@dataclass(slots=True)
class Fit:
    """The estimate. `findings` are about the machine as a whole; a warning does not prevent it."""

    question: Question
    models: list[ModelFit]
    findings: list[Finding] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        all_findings = [*self.findings, *(each for model in self.models for each in model.findings)]
        return not any(each.severity is Severity.ERROR for each in all_findings)

    @property
    def host_bytes(self) -> int:
        return TRITON_BYTES + sum(model.host_bytes for model in self.models)

    @property
    def shm_bytes(self) -> int:
        return sum(model.shm_bytes for model in self.models)

    @property
    def threads(self) -> int:
        return sum(model.threads for model in self.models)
