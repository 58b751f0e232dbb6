"""Configs of ONNX Runtime models against real ONNX files."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.toolkit.verifier.corpus.dsl import Files, tensors
from toolkit.verifier import ModelFinding, verify_repository

_IDS = "ids:INT64:-1"
_VECTOR = "vector:FP32:8"


def _config(inputs: str = _IDS, outputs: str = _VECTOR, batch: int = 8, more: str = "") -> Files:
    head = f'platform: "onnxruntime_onnx"\nmax_batch_size: {batch}\n'
    return {
        "model/config.pbtxt": head + tensors("input", inputs) + tensors("output", outputs) + more
    }


@pytest.fixture(scope="module")
def graph() -> bytes:
    """ids INT64 [B, L] → vector FP32 [B, 8]."""
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["B", "L"])
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["B", 8])
    nodes = [
        helper.make_node("Cast", ["ids"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Tile", ["mean", "repeats"], ["vector"]),
    ]
    repeats = helper.make_tensor("repeats", TensorProto.INT64, [2], [1, 8])
    made = helper.make_graph(nodes, "g", [ids], [vector], [repeats])
    opsets = [helper.make_opsetid("", 13)]
    return bytes(helper.make_model(made, opset_imports=opsets).SerializeToString())


def _verify(root: Path, files: Files, graph: bytes) -> list[ModelFinding]:
    folder = root / "model" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(graph)
    for path, text in files.items():
        (root / path).write_text(text)
    return verify_repository(root, "container:26.08")


def test_a_config_that_fits_is_clean(tmp_path: Path, graph: bytes) -> None:
    assert _verify(tmp_path, _config(), graph) == []


@pytest.mark.parametrize(
    ("files", "rule", "field", "fix"),
    [
        (_config("ids:INT32:-1"), "onnx-type", "input[0].data_type", "TYPE_INT64"),
        (_config(outputs="vector:FP16:8"), "onnx-type", "output[0].data_type", "TYPE_FP32"),
        (_config("idz:INT64:-1"), "onnx-name", "input[0].name", "'ids'"),
        (_config(outputs="vectors:FP32:8"), "onnx-name", "output[0].name", "'vector'"),
        (_config("ids:INT64:-1 mask:INT64:-1"), "onnx-name", "input[1].name", "ids"),
        (_config("ids:INT64:-1,-1"), "onnx-shape", "input[0].dims", "[-1]"),
        (_config(outputs="vector:FP32:-1,8"), "onnx-shape", "output[0].dims", "[8]"),
        (_config(outputs="vector:FP32:16"), "onnx-shape", "output[0].dims", "[8]"),
        (_config(batch=0), "onnx-shape", "input[0].dims", "[-1, -1]"),
    ],
)
def test_what_differs_is_named(
    tmp_path: Path, graph: bytes, files: Files, rule: str, field: str, fix: str
) -> None:
    found = [finding for finding in _verify(tmp_path, files, graph) if finding.place.field == field]
    assert [finding.code for finding in found] == [rule]
    assert fix in found[0].fix
    assert found[0].place.line


def test_a_graph_without_batch_dimension_cannot_batch(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])
    node = helper.make_node("Identity", ["x"], ["y"])
    model = helper.make_model(helper.make_graph([node], "g", [value], [result]))
    files = _config("x:FP32:3", "y:FP32:3")
    rules = {p.code for p in _verify(tmp_path, files, model.SerializeToString())}
    assert rules == {"onnx-shape"}


def test_a_file_that_is_no_onnx_is_told(tmp_path: Path) -> None:
    assert {p.code for p in _verify(tmp_path, _config(), b"not onnx")} == {"onnx-file"}


def test_external_data_must_be_there(tmp_path: Path) -> None:
    weight = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    result = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["B", 8])
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["B", "L"])
    node = helper.make_node("Identity", ["w"], ["vector"])
    model = helper.make_model(helper.make_graph([node], "g", [ids], [result], [weight]))
    found = _verify(tmp_path, _config(), model.SerializeToString())
    assert [finding.code for finding in found] == ["onnx-file"]
    assert "weights.bin" in found[0].text


def _model(
    inputs: dict[str, list[str | int]], outputs: dict[str, list[str | int]], *nodes: onnx.NodeProto
) -> bytes:
    """A graph of FP32 tensors."""
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in each]
        for each in (inputs.items(), outputs.items())
    ]
    graph = helper.make_graph(list(nodes), "g", *values)
    opsets = [helper.make_opsetid("", 13)]
    return bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())


def _rules(root: Path, files: Files, graph: bytes) -> list[tuple[str, str]]:
    return [(finding.code, finding.place.field) for finding in _verify(root, files, graph)]


def test_what_is_open_in_an_output_stays_open(tmp_path: Path) -> None:
    graph = _model({"x": ["B", "N"]}, {"y": ["B", "M"]})
    assert _rules(tmp_path / "open", _config("x:FP32:4", "y:FP32:-1"), graph) == []
    fixed = _rules(tmp_path / "fixed", _config("x:FP32:4", "y:FP32:4"), graph)
    assert fixed == [("onnx-shape", "output[0].dims")]


def test_an_open_size_that_the_graph_decides_is_no_longer_open(tmp_path: Path) -> None:
    graph = _model({"x": ["B", 4]}, {"y": ["B", "M"]}, helper.make_node("Relu", ["x"], ["y"]))
    assert _rules(tmp_path, _config("x:FP32:4", "y:FP32:4"), graph) == []


@pytest.mark.parametrize("batch", [0, 8])
def test_a_tensor_without_dimensions_has_dims_of_1(tmp_path: Path, batch: int) -> None:
    graph = _model({"x": ["B", 4]}, {"y": []})
    shape = "4" if batch else "-1,4"
    config = _config(f"x:FP32:{shape}", "y:FP32:1", batch)
    assert _rules(tmp_path / "one", config, graph) == []
    config = _config(f"x:FP32:{shape}", "y:FP32:4", batch)
    assert _rules(tmp_path / "four", config, graph) == [("onnx-shape", "output[0].dims")]


def test_inputs_that_the_server_fills_are_not_declared(tmp_path: Path) -> None:
    shape: list[str | int] = ["B", 1]
    graph = _model(dict.fromkeys(("x", "start", "past"), shape), {"y": shape, "present": shape})
    more = (
        'sequence_batching { control_input { name: "start" control { kind: CONTROL_SEQUENCE_START'
        ' fp32_false_true: [ 0, 1 ] } } state { input_name: "past" output_name: "present"'
        " data_type: TYPE_FP32 dims: [ 1 ] } }\n"
    )
    assert _rules(tmp_path, _config("x:FP32:1", "y:FP32:1", more=more), graph) == []


def test_an_input_with_a_value_in_the_file_may_be_declared(tmp_path: Path) -> None:
    model = onnx.load_from_string(_model({"x": [3], "scale": [1]}, {"y": [3]}))
    model.graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [1], [2.0]))
    graph = model.SerializeToString()
    config = _config("x:FP32:3 scale?:FP32:1", "y:FP32:3", 0)
    assert _rules(tmp_path / "given", config, graph) == []
    assert _rules(tmp_path / "left", _config("x:FP32:3", "y:FP32:3", 0), graph) == []


def test_optional_inputs_do_not_go_with_batches(tmp_path: Path) -> None:
    graph = _model({"x": ["B", 3]}, {"y": ["B", 3]})
    found = _rules(tmp_path, _config("x?:FP32:3", "y:FP32:3"), graph)
    assert found == [("onnx-optional", "input[0].optional")]


def test_an_input_is_optional_where_the_file_has_a_value(tmp_path: Path) -> None:
    model = onnx.load_from_string(_model({"x": [3], "scale": [1]}, {"y": [3]}))
    model.graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [1], [2.0]))
    config = _config("x?:FP32:3 scale:FP32:1", "y:FP32:3", 0)
    found = _rules(tmp_path, config, model.SerializeToString())
    assert found == [("onnx-optional", "input[0].optional"), ("onnx-optional", "input[1].optional")]


def test_what_the_file_completes_must_batch_as_the_config_says(tmp_path: Path) -> None:
    config = _config("x:FP32:3", "")
    fixed = _model({"x": ["B", 3]}, {"y": [1, 3]})
    assert _rules(tmp_path / "fixed", config, fixed) == [("onnx-shape", "max_batch_size")]
    assert _rules(tmp_path / "open", config, _model({"x": ["B", 3]}, {"y": ["B", 3]})) == []


def test_a_ragged_input_is_one_row_in_the_file(tmp_path: Path) -> None:
    config = _config("x:FP32:-1", "y:FP32:3")
    path = "model/config.pbtxt"
    config = {path: config[path].replace('"x"', '"x"\n  allow_ragged_batch: true')}
    row = _model({"x": ["N"]}, {"y": ["B", 3]})
    assert _rules(tmp_path / "row", config, row) == []
    rows = _rules(tmp_path / "rows", config, _model({"x": ["B", "N"]}, {"y": ["B", 3]}))
    assert rows == [("onnx-shape", "input[0].allow_ragged_batch")]
