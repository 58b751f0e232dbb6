"""Finds which weights of a graph were rounded by quantization, and which stayed float.

It only knows ONNX's structures; `graph_worker` does the rounding.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

_PRODUCTS = ("MatMul", "Gemm")
_SMALL = {"INT8", "UINT8", "FLOAT16"}


def prepare(file: Path, products: tuple[str, ...] = _PRODUCTS) -> list[str]:
    """Rewrites a graph so that the tools find its weights; returns nodes that they cannot round.

    Weights become initializers, nodes get names, and what the exporter wrote about inner values is
    dropped: the tools infer shapes themselves, and end in an error where the exporter's differ
    (convolutions of a UNet). The tools round weights of two dimensions only.
    """
    onnx: Any = import_module("onnx")
    # only the graph is rewritten: weights that are in other files stay there
    model = onnx.load(file, load_external_data=False)
    graph = model.graph
    del graph.value_info[:]
    moved = {name: tensor for name, tensor in _constants(graph) if len(tensor.dims) > 1}
    for name, tensor in moved.items():
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = name
    for node in [node for node in graph.node if node.output[0] in moved]:
        graph.node.remove(node)
    # `nodes_to_exclude` goes by names, and exporters need not give any
    for number, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    onnx.save(model, file)
    sizes = {each.name: len(each.dims) for each in graph.initializer}
    return [
        node.name
        for node in graph.node
        # 2 for inputs that are computed and not weights: they may have any shape
        if node.op_type in products and any(sizes.get(name, 2) != 2 for name in node.input[:2])
    ]


def rounded(before: Path, after: Path) -> int:
    """How many weights of two dimensions or more have become smaller numbers."""
    return sum(_small(after).values()) - sum(_small(before).values())


def _small(file: Path) -> dict[str, bool]:
    return {name: kind in _SMALL for name, kind, _ in _weights(file)}


def floats_of_products(file: Path) -> list[str]:
    """Weights of matrix products that are FLOAT in a quantized graph, with their shapes."""
    onnx: Any = import_module("onnx")
    model = onnx.load(file, load_external_data=False)
    used = {
        name for node in model.graph.node if node.op_type in _PRODUCTS for name in node.input[:2]
    }
    return [
        f"{name} {list(dims)}"
        for name, kind, dims in _weights(file, least=1)
        if kind == "FLOAT" and name in used
    ]


def _weights(file: Path, least: int = 2) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Name, type and shape of every constant of at least this many dimensions."""
    onnx: Any = import_module("onnx")
    graph = onnx.load(file, load_external_data=False).graph
    for name, each in [*((each.name, each) for each in graph.initializer), *_constants(graph)]:
        if len(each.dims) >= least:
            yield name, onnx.TensorProto.DataType.Name(each.data_type), tuple(each.dims)


def _constants(graph: Any) -> list[tuple[str, Any]]:
    return [
        (node.output[0], each.t)
        for node in graph.node
        if node.op_type == "Constant"
        for each in node.attribute
        if each.name == "value"
    ]
