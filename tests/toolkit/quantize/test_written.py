"""What a quantization wrote is held to its source's files; a graph's weights are all there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from toolkit.errors import QuantizeError
from toolkit.quantize.autoawq import pack
from toolkit.quantize.graph_files import check_graphs, files_of
from toolkit.quantize.written import check_written

LAYER = "model.layers.0.mlp.up_proj"
Tensors = dict[str, torch.Tensor]


def source_tensors() -> Tensors:
    torch.manual_seed(0)
    return {
        f"{LAYER}.weight": torch.randn(16, 32),
        "model.layers.0.input_layernorm.weight": torch.randn(32),
        "model.embed_tokens.weight": torch.randn(8, 32),
        "model.not_a_number": torch.tensor(float("nan")),
        "model.zeros": torch.zeros(4),
    }


def rounded(tensors: Tensors) -> Tensors:
    """As W8A8 writes it: one scale for each output."""
    weight = tensors[f"{LAYER}.weight"]
    scale = weight.abs().amax(1, keepdim=True) / 127
    other = {name: tensor for name, tensor in tensors.items() if not name.startswith(LAYER)}
    packed = (weight / scale).round().to(torch.int8)
    return other | {f"{LAYER}.weight": packed, f"{LAYER}.weight_scale": scale}


def checked(folder: Path, written: Tensors, smooths: bool = False) -> list[str]:
    for name, tensors in (("source", source_tensors()), ("written", written)):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text('{"dtype": "bfloat16", "text_config": null}')
        save_file(tensors, folder / name / "model.safetensors")
    return check_written(folder / "source", folder / "written", smooths)


def test_what_was_quantized_is_read_from_the_written_files(tmp_path: Path) -> None:
    assert checked(tmp_path, rounded(source_tensors())) == [LAYER]


def test_autoawqs_layout_is_read(tmp_path: Path) -> None:
    tensors = source_tensors()
    weight = tensors.pop(f"{LAYER}.weight")
    scale = weight.reshape(16, 2, 16).abs().amax(2) / 7
    values = (weight / scale.repeat_interleave(16, 1)).round().clamp(-8, 7).int() + 8
    packed = {
        f"{LAYER}.qweight": pack(values.t()),
        f"{LAYER}.qzeros": pack(torch.full((2, 16), 8)),
        f"{LAYER}.scales": scale.t().contiguous(),
    }
    assert checked(tmp_path, tensors | packed) == [LAYER]


def test_what_was_not_quantized_may_have_the_type_that_engines_compute_with(
    tmp_path: Path,
) -> None:
    written = rounded(source_tensors())
    written["model.embed_tokens.weight"] = written["model.embed_tokens.weight"].bfloat16()
    assert checked(tmp_path, written) == [LAYER]


def round_further(tensors: Tensors) -> None:
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].half()


def change_a_sign_of_zero(tensors: Tensors) -> None:
    tensors["model.zeros"] = tensors["model.zeros"] * -1


def lose(tensors: Tensors) -> None:
    del tensors["model.embed_tokens.weight"]


def invent(tensors: Tensors) -> None:
    tensors["model.layers.1.mlp.up_proj.weight"] = torch.ones(2, 2)


def change(tensors: Tensors) -> None:
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"] + 1


def shuffle(tensors: Tensors) -> None:
    tensors[f"{LAYER}.weight"] = tensors[f"{LAYER}.weight"].flip(0).contiguous()


def cut(tensors: Tensors) -> None:
    tensors[f"{LAYER}.weight"] = tensors[f"{LAYER}.weight"][:, :16].contiguous()


@pytest.mark.parametrize(
    ("damage", "message", "smooths"),
    [
        (lose, "lacks model.embed_tokens.weight", True),
        (invent, "contains, in addition to the source, model.layers.1.mlp.up_proj.weight", True),
        (change, "model.embed_tokens.weight was not quantized, and differs", True),
        (round_further, r"embed_tokens.weight was not quantized, and is torch.float16", False),
        (change_a_sign_of_zero, "model.zeros was not quantized, and differs", False),
        (shuffle, f"{LAYER} differs by 1", False),
        (cut, rf"{LAYER} is \[16, 16\] in the result and \[16, 32\] in the source", True),
    ],
)
def test_a_result_that_is_not_its_sources_is_refused(
    tmp_path: Path, damage: Callable[[Tensors], None], message: str, smooths: bool
) -> None:
    written = rounded(source_tensors())
    damage(written)
    with pytest.raises(QuantizeError, match=message):
        checked(tmp_path, written, smooths)


def test_a_graph_without_all_of_its_weights_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "some.weight")
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "some.weight"], ["y"])
    graph = helper.make_graph([node], "g", shape[:1], shape[1:], [weight])
    onnx.save(
        helper.make_model(graph),
        folder / "model.onnx",
        save_as_external_data=True,
        location="weights.bin",
    )
    data = folder / "weights.bin"
    assert files_of(folder / "model.onnx") == [folder / "model.onnx", data]
    check_graphs(tmp_path, ["encoder"])
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(
        QuantizeError, match=r"does not contain the weight some\.weight: weights\.bin ends"
    ):
        check_graphs(tmp_path, ["encoder"])
    data.unlink()
    with pytest.raises(QuantizeError, match=r"weights\.bin is not beside it"):
        check_graphs(tmp_path, ["encoder"])
    with pytest.raises(QuantizeError, match=r"has no decode/model\.onnx"):
        check_graphs(tmp_path, ["decode"])
