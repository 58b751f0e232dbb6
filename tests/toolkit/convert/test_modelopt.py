"""ModelOpt's checkpoints for TensorRT-LLM: what is written, what is refused, what is noticed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.support.tiny_language import save_tiny_language
from toolkit.cli import app
from toolkit.convert import modelopt
from toolkit.convert.quiet import quiet
from toolkit.convert.run import Request, convert
from toolkit.errors import ConvertError
from toolkit.progress import silent

TEXTS = ("A few words.", "And a few more, so that there is something to measure.")
ALGORITHMS = {"fp8": "FP8", "awq": "W4A16_AWQ", "nvfp4": "NVFP4"}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        return save_tiny_language(tmp_path_factory.mktemp("llama") / "tiny")


@pytest.mark.parametrize(
    ("name", "error", "bits"), [("fp8", 0.04, 8), ("awq", 0.15, 4), ("nvfp4", 0.15, 4)]
)
def test_what_modelopt_writes(
    llama: Path, tmp_path: Path, name: str, error: float, bits: int
) -> None:
    asked = Request("tensorrt-llm", quantization=name, texts=TEXTS)
    record = convert(llama, asked, tmp_path / "out", silent)
    weights, rest, tokens = record["parity"]
    assert weights["measure"] == "largest relative error of one matrix"
    assert 0 < weights["difference"] < error
    assert tokens["measure"] == "largest KL divergence (nats)"
    assert rest["difference"] < (0.15 if name == "awq" else 1e-9)
    assert 0 < tokens["difference"] < tokens["tolerance"]
    assert record["executed"] is False
    checkpoint = tmp_path / "out" / "checkpoint"
    about = json.loads((checkpoint / "hf_quant_config.json").read_text())["quantization"]
    assert about["quant_algo"] == ALGORITHMS[name]
    tensors = load_file(checkpoint / "model.safetensors")
    matrix = tensors["model.layers.0.mlp.up_proj.weight"]
    assert matrix.numel() * matrix.element_size() == 64 * 128 * bits // 8
    assert tensors["model.norm.weight"].dtype == torch.bfloat16  # as in the source
    if name == "awq":
        assert about["group_size"] == 64
        assert "model.layers.0.mlp.down_proj.pre_quant_scale" in tensors


def _unfold_norms(tensors: dict[str, torch.Tensor], source: dict[str, torch.Tensor]) -> None:
    """The factors that AWQ moved into the norms are lost."""
    for name in tensors:
        if name.endswith("layernorm.weight"):
            tensors[name] = torch.ones_like(source[name])


def _swap_halves(tensors: dict[str, torch.Tensor], _: dict[str, torch.Tensor]) -> None:
    name = "model.layers.1.self_attn.o_proj.weight"
    tensors[name] = (tensors[name] << 4) | (tensors[name] >> 4)


def _double_a_scale(tensors: dict[str, torch.Tensor], _: dict[str, torch.Tensor]) -> None:
    name = "model.layers.0.mlp.gate_proj.weight_scale"
    tensors[name] = (tensors[name].float() * 2).to(tensors[name].dtype)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("fp8", _double_a_scale, "FP8 weight differs"),
        ("awq", _swap_halves, "AWQ weight differs"),
        ("awq", _unfold_norms, "next-token distributions"),
        ("nvfp4", _swap_halves, "NVFP4 weight differs"),
        ("nvfp4", _double_a_scale, "NVFP4 weight differs"),
    ],
)
def test_a_wrong_checkpoint_is_refused(
    llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    change: Callable[..., None],
    message: str,
) -> None:
    compare = modelopt._compare

    def tampered(folder: Path, checkpoint: Path, *rest: Any) -> None:
        file = checkpoint / "model.safetensors"
        tensors = load_file(file)
        change(tensors, load_file(folder / "model.safetensors"))
        save_file(tensors, file)
        compare(folder, checkpoint, *rest)

    monkeypatch.setattr(modelopt, "_compare", tampered)
    with pytest.raises(ConvertError, match=message):
        convert(
            llama, Request("tensorrt-llm", quantization=name, texts=TEXTS), tmp_path / "out", silent
        )
    assert list(tmp_path.iterdir()) == []


def test_mixtures_of_experts_are_refused_before_awq_fails(llama: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(llama, source)
    config = json.loads((source / "config.json").read_text()) | {"num_experts": 4}
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConvertError, match="mixtures of experts"):
        convert(source, Request("tensorrt-llm", quantization="awq"), tmp_path / "out", silent)


def test_blocks_that_do_not_divide_are_refused(tmp_path: Path) -> None:
    with quiet():
        source = save_tiny_language(tmp_path / "tiny", width=96)
    with pytest.raises(ConvertError, match=r"blocks of 128 or 64.*\(96, 128\)") as caught:
        convert(source, Request("tensorrt-llm", quantization="awq"), tmp_path / "out", silent)
    assert "--fp8" in (caught.value.hint or "")
    with pytest.raises(ConvertError, match="no ModelOpt recipe 'int3'"):
        convert(source, Request("tensorrt-llm", quantization="int3"), tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "tensorrt-llm", "--awq", "--fp8"], "--awq and --fp8 cannot be combined"),
        (["--to", "gguf", "--nvfp4"], "--quantization nvfp4 requires --to tensorrt-llm"),
    ],
)
def test_options_that_do_not_go_together(
    llama: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    ran = CliRunner().invoke(app, ["convert", str(llama), *options, "-o", str(tmp_path / "out")])
    assert message in str(ran.exception)
    assert not (tmp_path / "out").exists()
