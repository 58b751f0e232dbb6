"""Measures what one model needs, from its entry and the headers of its weights."""

from collections.abc import Callable
from functools import partial
from typing import Any

from toolkit import kinds
from toolkit.fields.entry import BaseEntry, SourcedEntry
from toolkit.fit.architecture import read_architecture
from toolkit.fit.checkpoint import Checkpoint, read_checkpoint
from toolkit.fit.engine import SEQUENCES, engine_of
from toolkit.fit.estimate import (
    STUB_BYTES,
    STUB_SHM_BYTES,
    StepsNeed,
    diffusion_need,
    encoder_need,
    llm_weights,
)
from toolkit.fit.placement import Demand
from toolkit.fit.result import EngineFit, ModelFit, Question
from toolkit.kinds.encoding import TOKENIZE_INSTANCES
from toolkit.kinds.kind import Estimate
from toolkit.kinds.llm.fields import LlmEntry
from toolkit.kinds.llm.served import PROMPT_INSTANCES
from toolkit.progress import Progress


def measure(name: str, entry: BaseEntry, question: Question, progress: Progress) -> ModelFit:
    """The memory of one model, before placement. Raises SourceError if it cannot be read."""
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
        steps=need,
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
        engine=EngineFit(demand, demand.need(on_gpu=target.gpu)),
    )


_MEASURES: dict[Estimate, Callable[[str, Any, Checkpoint, Question], ModelFit]] = {
    "engine": _measure_llm,
    "encoder": partial(_measure_steps, _encoder),
    "pipeline": partial(_measure_steps, _pipeline),
}
"""By the estimate that a kind names."""
