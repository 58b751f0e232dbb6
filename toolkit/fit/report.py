"""A Fit as JSON: every number in bytes, nothing of it rounded. Field names are stable."""

from dataclasses import asdict

from toolkit.fit.estimate import LlmNeed
from toolkit.fit.models import Fit, ModelFit


def as_json(fit: Fit) -> dict[str, object]:
    """The whole answer."""
    question = fit.question
    return {
        "fits": fit.fits,
        "target": question.target.name,
        "machine": {
            "memory_bytes": question.host_bytes,
            "processors": question.cores,
            "shm_bytes": question.shm_bytes,
            "gpus": [asdict(device) for device in question.devices],
        },
        "host_bytes": fit.host_bytes,
        "shm_bytes": fit.shm_bytes,
        "threads": fit.threads,
        "models": [_model(model) for model in fit.models],
        "problems": fit.problems,
        "notes": fit.notes,
    }


def _model(model: ModelFit) -> dict[str, object]:
    told: dict[str, object] = {
        "name": model.name,
        "kind": model.kind,
        "fits": not model.problems,
        "host_bytes": model.host_bytes,
        "shm_bytes": model.shm_bytes,
        "threads": model.threads,
    }
    if model.need is not None:
        told["weights_bytes"] = (
            model.wanted.weights if model.wanted is not None else model.need.weights
        )
        told["activation_bytes"] = model.need.activations
        told["process_bytes"] = model.need.processes
    if model.wanted is not None and isinstance(model.need, LlmNeed):
        told |= _llm(model, model.need)
    return told | {"problems": model.problems, "advice": model.advice}


def _llm(model: ModelFit, need: LlmNeed) -> dict[str, object]:
    wanted, placement = model.wanted, model.placement
    assert wanted is not None
    context = wanted.engine.context_length
    held = model.sequences if model.sequences != float("inf") else None
    told: dict[str, object] = {
        "parameters": wanted.architecture.parameters,
        "attention": wanted.architecture.attention,
        "precision": wanted.engine.precision.label,
        "context_length": context,
        "concurrency": wanted.sequences,
        "cache": {
            "bytes_per_token": need.token,
            "bytes_per_request": need.sequence,
            "wanted_bytes": need.cache,
            "bytes": model.cache_bytes,
            "tokens": int(held * context) if held is not None else None,
            "requests": held,
        },
    }
    if placement is not None:
        told["placement"] = {
            "gpus": list(placement.devices),
            "tensor_parallel_size": placement.tensor_parallel,
            "pipeline_parallel_size": placement.pipeline_parallel,
            "gpu_memory_utilization": placement.share,
            "bytes_per_gpu": placement.need.fixed + placement.cache_bytes,
        }
    return told
