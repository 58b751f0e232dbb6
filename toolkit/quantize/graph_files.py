"""Checks that an ONNX graph is complete: its weights may be in other files, which can get lost.

Reads the graph without its weights, and the sizes of the files that hold them.
"""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.errors import QuantizeError


def check_graphs(place: Path, names: Iterable[str]) -> None:
    """Raises QuantizeError for a step without its graph, or whose weights are not all there."""
    for name in names:
        file = place / name / "model.onnx"
        if not file.exists():
            raise QuantizeError(
                f"the model has no {name}/model.onnx", hint="convert it again: toolkit convert"
            )
        for weight, data, end in _outside(file):
            size = data.stat().st_size if data.is_file() else None
            if size is None or size < end:
                found = "is not beside it" if size is None else f"ends at {size} bytes, not {end}"
                raise QuantizeError(
                    f"{name}/model.onnx does not contain the weight {weight}: {data.name} {found}",
                    hint="copy the graph together with its weights files",
                )


def files_of(file: Path) -> list[Path]:
    """The graph and the files that hold its weights, where they are there."""
    data = {path for _, path, _ in _outside(file) if path.is_file()}
    return [file, *sorted(data)]


def _outside(file: Path) -> Iterator[tuple[str, Path, int]]:
    """Name, file and end (bytes) of each weight that lies outside the graph."""
    onnx: Any = import_module("onnx")
    helper: Any = import_module("onnx.external_data_helper")
    try:
        model = onnx.load(file, load_external_data=False)
        # private, but no public function also finds tensors in attributes and subgraphs
        tensors = list(helper._get_all_tensors(model))
    except Exception as error:  # protobuf's own errors
        raise QuantizeError(
            f"{file.name} of {file.parent.name} cannot be quantized: it is not a readable ONNX "
            f"graph: {error}"
        ) from error
    for tensor in tensors:
        if helper.uses_external_data(tensor):
            about = helper.ExternalDataInfo(tensor)
            # a graph is copied together with its data by plain names, and `../` would read any file
            if Path(about.location).name != about.location:
                raise QuantizeError(
                    f"{file.name}: the weight {tensor.name} is in {about.location}",
                    hint="weights must be in a file next to the graph",
                )
            end = (about.offset or 0) + (about.length or 0)
            yield tensor.name, file.with_name(about.location), end
