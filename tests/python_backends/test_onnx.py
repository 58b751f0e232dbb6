"""A graph's inputs and outputs against what a step needs."""

from types import SimpleNamespace

from python_backends import onnx


def test_a_graphs_ports_are_compared_in_words() -> None:
    found = [SimpleNamespace(name="ids", type="tensor(int32)", shape=[1])]
    wanted = {"ids": (onnx.INT64, 2), "mask": (onnx.INT64, 2)}
    assert onnx.compare("input", found, wanted) == [
        "input 'mask' is missing",
        "input 'ids' is tensor(int32) of rank 1, not tensor(int64) of 2",
    ]
    either = {"ids": ("tensor(float)|tensor(int32)", 1)}
    assert onnx.compare("input", found, either) == []
