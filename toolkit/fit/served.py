"""Places the models of a built repository on this machine's GPUs.

Reads only the repository: each step's config, its weights' headers, its graphs' sizes. Graphs are
placed first and take a fixed part. Language models share what is left, as `toolkit fit` places
them. It does not start or write anything.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.errors import RepositoryError
from toolkit.fit.architecture import read_architecture
from toolkit.fit.checkpoint import read_folder
from toolkit.fit.devices import Device
from toolkit.fit.engine import SEQUENCES, engine_of
from toolkit.fit.estimate import GPU_CONTEXT_BYTES, llm_weights
from toolkit.fit.placement import Demand, Placement, Room, place
from toolkit.kinds.llm.fields import LlmEntry
from toolkit.repository.pbtxt import read
from toolkit.targets import NEWEST, find_target

GRAPH_COPIES = 2.0
"""A graph's weights, and at most as much again for what onnxruntime computes with them."""

Placed = dict[str, dict[str, Any]]
"""Step → what its backend is given: `gpus` by index, and for engines `engine` arguments."""


def place_repository(repository: Path, devices: Sequence[Device]) -> Placed:
    """A place for every step of the toolkit's that computes. Raises RepositoryError when the
    language models do not fit, with what each needs."""
    steps = sorted(path.parent for path in repository.glob("*/config.pbtxt"))
    left = list(devices)
    placed: Placed = {}
    for step in steps:
        if size := _graph_bytes(step):
            index = max(range(len(left)), key=lambda each: left[each].free_bytes)
            taken = int(GRAPH_COPIES * size) + GPU_CONTEXT_BYTES // 2
            # half a context: onnxruntime has no captured graphs
            left[index] = replace(left[index], free_bytes=left[index].free_bytes - taken)
            placed[step.name] = {"gpus": [left[index].index]}
    demand = [step_demand for step in steps if (step_demand := _demand(step))]
    placements = place(demand, Room.of(left))
    missing = [each for each in demand if placements[each.name] is None]
    if missing:
        raise RepositoryError(
            "these models do not fit on the GPUs that are free: "
            + ", ".join(f"{each.name} ({each.need().total / 2**30:.1f} GiB)" for each in missing),
            hint="`toolkit fit --target container` shows which GPUs they need; --device cpu"
            " serves them on the CPU",
        )
    rooms = {device.index: device for device in left}
    for name, placement in placements.items():
        assert placement is not None
        placed[name] = {"gpus": list(placement.devices), "engine": _arguments(placement, rooms)}
    return placed


def _arguments(placement: Placement, rooms: dict[int, Device]) -> dict[str, object]:
    """Never more than is free: vLLM refuses to start where its share is not."""
    free = min(
        math.floor(100 * rooms[index].free_bytes / rooms[index].memory_bytes) / 100
        for index in placement.devices
    )
    arguments: dict[str, object] = {"gpu_memory_utilization": min(placement.share, free)}
    if placement.tensor_parallel > 1:
        arguments["tensor_parallel_size"] = placement.tensor_parallel
    if placement.pipeline_parallel > 1:
        arguments["pipeline_parallel_size"] = placement.pipeline_parallel
    return arguments


def _graph_bytes(step: Path) -> int:
    """Bytes of the graphs that onnxruntime runs in a step of the toolkit's."""
    return sum(
        file.stat().st_size
        for version in step.iterdir()
        if (version / "python_backends" / "onnx.py").exists()
        for file in version.glob("*.onnx*")
    )


def _demand(step: Path) -> Demand | None:
    """The language model of an engine step; None for any other."""
    versions = [path for path in step.iterdir() if (path / "python_backends/vllm_engine").is_dir()]
    if not versions:
        return None
    parameters = read(step / "config.pbtxt").parameters
    arguments = json.loads(parameters["engine"].string_value)
    weights = versions[-1] / str(arguments.pop("model"))
    checkpoint = read_folder(weights)
    architecture = read_architecture(checkpoint.config, step.name)
    length = int(arguments.pop("max_model_len", architecture.context_length))
    entry = LlmEntry(
        kind="llm", source=f"path:{weights}", context_length=length, engine_args=arguments
    )
    # the repository's own target has no GPUs, and `engine_of` would size a CPU's engine
    target = find_target(NEWEST)
    engine = engine_of(step.name, entry, architecture, checkpoint.config, target, avx512=False)
    size = llm_weights(architecture, engine, checkpoint.tensors)
    return Demand(step.name, architecture, engine, size, engine.sequences or SEQUENCES)
