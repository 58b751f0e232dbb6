"""A Fit as JSON: all sizes in bytes, not rounded. Field names are stable."""

from dataclasses import asdict

from toolkit.finding import Finding
from toolkit.fit.result import EngineFit, Fit, ModelFit


def as_json(fit: Fit) -> dict[str, object]:
    """The Fit as a JSON object."""
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
        "findings": [_finding(each) for each in fit.findings],
    }


def _finding(finding: Finding) -> dict[str, str | None]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "text": finding.text,
        "fix": finding.fix,
    }


def _model(model: ModelFit) -> dict[str, object]:
    result: dict[str, object] = {
        "name": model.name,
        "kind": model.kind,
        "fits": not model.findings,
        "host_bytes": model.host_bytes,
        "shm_bytes": model.shm_bytes,
        "threads": model.threads,
    }
    if model.need is not None:
        result["weights_bytes"] = model.weights_bytes
        result["activation_bytes"] = model.need.activations
        result["process_bytes"] = model.need.processes
    if model.engine is not None:
        result |= _engine(model.engine)
    return result | {
        "findings": [_finding(each) for each in model.findings],
        "advice": model.advice,
    }


def _engine(engine: EngineFit) -> dict[str, object]:
    demand, need, placement = engine.demand, engine.need, engine.placement
    context = demand.engine.context_length
    # JSON does not have infinity
    held = engine.sequences if engine.sequences != float("inf") else None
    result: dict[str, object] = {
        "parameters": demand.architecture.parameters,
        "attention": demand.architecture.attention,
        "precision": demand.engine.precision.label,
        "context_length": context,
        "concurrency": demand.sequences,
        "cache": {
            "bytes_per_token": need.token,
            "bytes_per_request": need.sequence,
            "wanted_bytes": need.cache,
            "bytes": engine.cache_bytes,
            "tokens": int(held * context) if held is not None else None,
            "requests": held,
        },
    }
    if placement is not None:
        result["placement"] = {
            "gpus": list(placement.devices),
            "tensor_parallel_size": placement.tensor_parallel,
            "pipeline_parallel_size": placement.pipeline_parallel,
            "gpu_memory_utilization": placement.share,
            "bytes_per_gpu": placement.need.fixed + placement.cache_bytes,
        }
    return result
