"""Exports a torch module to an ONNX file, and runs the file: the two calls of every conversion.

Opset 18 through torch's dynamo exporter, named dynamic axes, weights inside the file unless they
are too large for it.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

OPSET = 18
MOST_INSIDE_BYTES = 1_800_000_000
"""Larger weights go to `model.onnx.data`, because protobuf files are limited to 2 GiB."""


def export(
    module: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    dynamic: Mapping[str, Mapping[int, str]],
    output: str,
    file: Path,
) -> None:
    """Writes `module(**inputs)` as a graph with one output; `dynamic` names the axes that may vary.

    Example inputs need at least 2 along every dynamic axis, or the exporter takes it for constant.
    """
    shapes = {name: dict(dynamic.get(name, {})) or None for name in inputs}
    program = torch.onnx.export(
        module.eval(),
        kwargs=dict(inputs),
        input_names=list(inputs),
        dynamic_shapes=shapes,
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    _name_output(program, output)
    file.parent.mkdir(parents=True, exist_ok=True)
    # buffers and the graph itself have the 300 MB between this limit and 2 GiB
    size = sum(each.numel() * each.element_size() for each in module.parameters())
    program.save(file, external_data=size > MOST_INSIDE_BYTES)


def _name_output(program: torch.onnx.ONNXProgram, name: str) -> None:
    """Names the output after inner values that happen to have that name have given it up.

    Left to the exporter's `output_names`, BERT's graph has two values `embedding` and is invalid.
    """
    graph = program.model.graph
    for node in graph:
        for value in node.outputs:
            if value.name == name:
                value.name = f"{name}_inner"
    graph.outputs[0].name = name


def run(file: Path, inputs: Mapping[str, npt.NDArray[np.generic]]) -> npt.NDArray[np.floating]:
    """The graph's only output, computed by onnxruntime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    result: npt.NDArray[np.floating] = session.run(None, dict(inputs))[0]
    return result
