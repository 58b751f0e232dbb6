"""Estimates whether the models of a models.yaml fit a machine.

For each model it reports memory and placement; if it does not fit, changes that would help.
"""

from toolkit.errors import BuildError, ToolkitError
from toolkit.finding import Finding, Place, Severity
from toolkit.fit.advice import advise, more_devices
from toolkit.fit.cache import sequences_in
from toolkit.fit.engine import ENGINE_FIELD
from toolkit.fit.estimate import GPU_HOST_BYTES, QUEUE_SHM_BYTES
from toolkit.fit.measure import measure
from toolkit.fit.placement import Demand, Room, place, place_one
from toolkit.fit.result import EngineFit, Fit, ModelFit, Question
from toolkit.progress import Progress, silent

SHARED_MEMORY = "/dev/shm"  # noqa: S108


def fit_models(question: Question, progress: Progress = silent) -> Fit:
    """Raises BuildError with every model whose weights cannot be read."""
    models, failures = [], []
    for name, entry in question.spec.for_target(question.target).items():
        try:
            models.append(measure(name, entry, question, progress))
        except ToolkitError as error:
            # collected: one answer names every model that cannot be read
            failures.append(question.spec.finding_of(name, error))
    if failures:
        raise BuildError(failures)
    fit = Fit(question, models)
    if question.target.gpu:
        _place_on_gpus(fit)
    else:
        _place_on_host(fit)
    _check_host(fit)
    return fit


def _place_on_host(fit: Fit) -> None:
    """Embedded target: everything is in the host's memory; caches have the size they are given."""
    engines = [(model, model.engine) for model in fit.models if model.engine is not None]
    for model, engine in engines:
        demand, need = engine.demand, engine.need
        engine.cache_bytes = demand.engine.cache_bytes or need.cache
        engine.sequences = sequences_in(
            demand.architecture, need.shape, demand.engine.context_length, engine.cache_bytes
        )
        model.host_bytes += need.fixed + engine.cache_bytes
        model.shm_bytes += QUEUE_SHM_BYTES
        if engine.sequences < demand.sequences:
            text = (
                f"the KV cache of {_gib(engine.cache_bytes)} holds {engine.sequences:.1f} requests "
                f"of {demand.engine.context_length} tokens, not {demand.sequences}"
            )
            model.findings.append(_error("kv-cache", text))
    # a second loop: advice needs the memory of all models together
    for model, engine in engines:
        _advise_on_host(fit, model, engine)


def _advise_on_host(fit: Fit, model: ModelFit, engine: EngineFit) -> None:
    """Settings of this model that fit while all other models stay as they are."""
    demand, need = engine.demand, engine.need
    room = fit.question.host_bytes - fit.host_bytes + need.fixed + engine.cache_bytes
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
    engines = {model.name: (model, model.engine) for model in fit.models if model.engine}
    if engines and not fit.question.devices:
        fix = "describe a GPU with --gpus h100:1, or use --target embedded"
        fit.findings.append(_error("gpu", f"there is no GPU for {', '.join(engines)}", fix))
        return
    room = Room.of(fit.question.devices)
    for name, placement in place([one.demand for _, one in engines.values()], room).items():
        model, engine = engines[name]
        engine.placement = placement
        if placement is None:
            _refuse(model, engine.demand, room)
            continue
        ranks = len(placement.devices)
        engine.need, engine.cache_bytes = placement.need, placement.cache_bytes
        engine.sequences = placement.sequences
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
