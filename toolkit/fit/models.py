"""Estimates whether the models of a models.yaml fit a machine.

For each model it reports memory and placement; if it does not fit, changes that would help.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from toolkit import kinds
from toolkit.errors import SourceError, ToolkitError
from toolkit.fields.entry import BaseEntry, SourcedEntry
from toolkit.finding import Finding, Place, Severity
from toolkit.fit.advice import advise, more_devices
from toolkit.fit.architecture import read_architecture
from toolkit.fit.cache import sequences_in
from toolkit.fit.checkpoint import Checkpoint, read_checkpoint
from toolkit.fit.devices import Device
from toolkit.fit.engine import ENGINE_FIELD, SEQUENCES, engine_of
from toolkit.fit.estimate import (
    GPU_HOST_BYTES,
    QUEUE_SHM_BYTES,
    STUB_BYTES,
    STUB_SHM_BYTES,
    TRITON_BYTES,
    LlmNeed,
    StepsNeed,
    diffusion_need,
    encoder_need,
    llm_weights,
)
from toolkit.fit.placement import Demand, Placement, Room, place, place_one
from toolkit.kinds.encoding import TOKENIZE_INSTANCES
from toolkit.kinds.llm.fields import LlmEntry
from toolkit.kinds.llm.served import PROMPT_INSTANCES
from toolkit.progress import Progress, silent
from toolkit.spec import Spec
from toolkit.targets import Target

SHARED_MEMORY = "/dev/shm"  # noqa: S108


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
class ModelFit:
    """One model. Bytes: on the host in all, and on each device of its placement."""

    name: str
    kind: str
    host_bytes: int
    shm_bytes: int
    threads: int
    demand: Demand | None = None
    need: LlmNeed | StepsNeed | None = None
    placement: Placement | None = None
    cache_bytes: int = 0
    sequences: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)


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


def fit_models(question: Question, progress: Progress = silent) -> Fit:
    """Raises SourceError with every model whose weights cannot be read."""
    models, failures = [], []
    for name, entry in question.spec.for_target(question.target).items():
        try:
            models.append(_measure(name, entry, question, progress))
        except ToolkitError as error:
            # collected: one answer names every model that cannot be read
            failures.append((f"{name}: {error.message}", error.hint))
    if failures:
        raise SourceError(
            "\n".join(text for text, _ in failures),
            hint=next((hint for _, hint in failures if hint), None),
        )
    fit = Fit(question, models)
    if question.target.gpu:
        _place_on_gpus(fit)
    else:
        _place_on_host(fit)
    _check_host(fit)
    return fit


def _measure(name: str, entry: BaseEntry, question: Question, progress: Progress) -> ModelFit:
    estimate = kinds.of(entry).estimate
    if not estimate:  # its steps are models of the file themselves
        return ModelFit(name, entry.kind, host_bytes=0, shm_bytes=0, threads=0)
    assert isinstance(entry, SourcedEntry)
    if estimate == "process":  # only its author knows what else it takes
        count = sum(group.count for group in entry.instances or ()) or 1
        return ModelFit(
            name,
            entry.kind,
            host_bytes=count * STUB_BYTES["prompt"],
            shm_bytes=count * STUB_SHM_BYTES,
            threads=count,
        )
    checkpoint = read_checkpoint(
        entry.origin, question.spec.folder, progress, offline=question.offline
    )
    return _MEASURES[estimate](name, entry, checkpoint, question)


def _measure_steps(
    need_of: Callable[[Any, Checkpoint], StepsNeed],
    name: str,
    entry: BaseEntry,
    checkpoint: Checkpoint,
    question: Question,
) -> ModelFit:
    need = need_of(entry, checkpoint)
    return ModelFit(
        name=name,
        kind=entry.kind,
        host_bytes=need.total,
        shm_bytes=need.instances * STUB_SHM_BYTES,
        # onnxruntime takes all cores, unless a step says otherwise
        threads=1 if question.target.gpu else question.cores,
        need=need,
    )


def _encoder(entry: Any, checkpoint: Checkpoint) -> StepsNeed:
    longest = int(checkpoint.config.get("max_position_embeddings", 512))
    return encoder_need(
        checkpoint, entry.context_length or longest, entry.token_budget, TOKENIZE_INSTANCES
    )


def _pipeline(entry: Any, checkpoint: Checkpoint) -> StepsNeed:
    vae, unet = checkpoint.configs.get("vae", {}), checkpoint.configs.get("unet", {})
    scale = 2 ** (len(vae.get("block_out_channels") or [1, 1, 1, 1]) - 1)
    trained = int(unet.get("sample_size") or 64) * scale
    return diffusion_need(checkpoint, entry.max_size or trained, scale)


def _measure_llm(
    name: str, entry: LlmEntry, checkpoint: Checkpoint, question: Question
) -> ModelFit:
    architecture = read_architecture(checkpoint.config, name)
    target = question.target
    engine = engine_of(name, entry, architecture, checkpoint.config, target, avx512=question.avx512)
    weights = llm_weights(architecture, engine, checkpoint.tensors)
    sequences = question.sequences or engine.sequences or SEQUENCES
    demand = Demand(name, architecture, engine, weights, sequences)
    prompts = PROMPT_INSTANCES * STUB_BYTES["prompt"]
    return ModelFit(
        name=name,
        kind=entry.kind,
        host_bytes=prompts,
        shm_bytes=(PROMPT_INSTANCES + 1) * STUB_SHM_BYTES,
        # as python_backends/vllm_engine/machine.py sets OMP_NUM_THREADS
        threads=1 if target.gpu else max(1, question.cores - 1),
        demand=demand,
        need=demand.need(on_gpu=target.gpu),
    )


_MEASURES: dict[str, Callable[[str, Any, Checkpoint, Question], ModelFit]] = {
    "engine": _measure_llm,
    "encoder": partial(_measure_steps, _encoder),
    "pipeline": partial(_measure_steps, _pipeline),
}
"""By the estimate that a kind names."""


def _place_on_host(fit: Fit) -> None:
    """Embedded target: everything is in the host's memory; caches have the size they are given."""
    for model in fit.models:
        if (demand := model.demand) is None or not isinstance(model.need, LlmNeed):
            continue
        need = model.need
        model.cache_bytes = demand.engine.cache_bytes or need.cache
        model.sequences = sequences_in(
            demand.architecture, need.shape, demand.engine.context_length, model.cache_bytes
        )
        model.host_bytes += need.fixed + model.cache_bytes
        model.shm_bytes += QUEUE_SHM_BYTES
        if model.sequences < demand.sequences:
            text = (
                f"the KV cache of {_gib(model.cache_bytes)} holds {model.sequences:.1f} requests "
                f"of {demand.engine.context_length} tokens, not {demand.sequences}"
            )
            model.findings.append(_error("kv-cache", text))
    # a second loop: advice needs what all models together take
    for model in fit.models:
        if model.demand is not None and isinstance(model.need, LlmNeed):
            _advise_on_host(fit, model, model.demand, model.need)


def _advise_on_host(fit: Fit, model: ModelFit, demand: Demand, need: LlmNeed) -> None:
    """Settings of this model that fit while all other models stay as they are."""
    room = fit.question.host_bytes - fit.host_bytes + need.fixed + model.cache_bytes
    if need.total > room:
        model.advice += advise(
            demand, lambda each: each.need(on_gpu=False).total <= room, small_cache=False
        )
        model.advice.append("GPUs: toolkit fit --gpus h100:1")
    elif model.findings:
        model.advice.append(
            f"{ENGINE_FIELD}: {{max_num_seqs: {demand.sequences}, "
            f"kv_cache_memory_bytes: {need.cache}}}"
        )


def _place_on_gpus(fit: Fit) -> None:
    models = {model.name: model for model in fit.models if model.demand is not None}
    if models and not fit.question.devices:
        fix = "describe a GPU with --gpus h100:1, or use --target embedded"
        fit.findings.append(_error("gpu", f"there is no GPU for {', '.join(models)}", fix))
        return
    room = Room.of(fit.question.devices)
    demand = [model.demand for model in models.values() if model.demand is not None]
    for name, placement in place(demand, room).items():
        model, asked = models[name], models[name].demand
        assert asked is not None
        model.placement = placement
        if placement is None:
            _refuse(model, asked, room)
            continue
        ranks = len(placement.devices)
        model.need, model.cache_bytes = placement.need, placement.cache_bytes
        model.sequences = placement.sequences
        model.host_bytes += ranks * GPU_HOST_BYTES
        # with one GPU the worker runs in the engine's own process
        model.shm_bytes += QUEUE_SHM_BYTES if ranks > 1 else 0


def _refuse(model: ModelFit, demand: Demand, room: Room) -> None:
    largest = max(room.left.values())
    text = (
        f"needs {_gib(demand.need().total)} on one GPU, or its share on several; the GPU with the "
        f"most room has {_gib(largest)} left"
    )
    model.findings.append(_error("gpu-memory", text))
    model.advice += advise(demand, lambda each: place_one(each, room.copy()) is not None)
    if more := more_devices(demand, room):
        model.advice.append(more)


def _check_host(fit: Fit) -> None:
    question = fit.question
    if fit.host_bytes > question.host_bytes:
        text = (
            f"all models need {_gib(fit.host_bytes)} of host memory, and "
            f"{_gib(question.host_bytes)} are available"
        )
        enough = -(-fit.host_bytes // 2**30)
        fix = f"free memory, serve fewer models, or check another host with --memory {enough}GiB"
        fit.findings.append(_error("memory", text, fix))
    if fit.shm_bytes > question.shm_bytes:
        reserved, free = _gib(fit.shm_bytes), _gib(question.shm_bytes)
        text = f"{SHARED_MEMORY}: models reserve {reserved}, and {free} are free"
        fix = f"mount -o remount,size=2g {SHARED_MEMORY}, or --shm-size 2g for a container"
        fit.findings.append(_error("shared-memory", text, fix))
    if fit.threads > question.cores:
        text = (
            f"{fit.threads} compute threads share {question.cores} processors: models that work "
            "at the same time slow each other down"
        )
        fit.findings.append(Finding(Severity.WARNING, Place(), text, code="threads"))


def _error(code: str, text: str, fix: str | None = None) -> Finding:
    return Finding(Severity.ERROR, Place(), text, fix, code)


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / 2**30:.2f} GiB"
