"""Tensors' bytes, as Triton reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from frontend.errors import BackendFailed
from frontend.upstreams.triton.tensors import (
    add_numbers,
    add_texts,
    output,
    pack_texts,
    unpack_bytes,
)


@given(st.lists(st.text()))
def test_texts_survive_packing(texts: list[str]) -> None:
    assert [part.decode() for part in unpack_bytes(pack_texts(texts))] == texts


def test_tensors_stand_in_the_request_as_triton_reads_them() -> None:
    request = service_pb2.ModelInferRequest()
    add_texts(request, "text", ["ab"], [1, 1])
    add_numbers(request, "seed", "INT64", [-1], [1])
    assert list(request.raw_input_contents) == [b"\2\0\0\0ab", b"\xff" * 8]
    assert [(i.name, i.datatype, list(i.shape)) for i in request.inputs] == [
        ("text", "BYTES", [1, 1]),
        ("seed", "INT64", [1]),
    ]


def test_an_output_is_found_by_name() -> None:
    response = service_pb2.ModelInferResponse(raw_output_contents=[b"a", b"b"])
    response.outputs.add(name="x", shape=[1])
    response.outputs.add(name="y", shape=[2])
    assert output(response, "y") == b"b"
    with pytest.raises(BackendFailed, match="'z'"):
        output(response, "z")
