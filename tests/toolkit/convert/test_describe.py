"""The description of a language model's weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from toolkit.convert.describe import describe
from toolkit.errors import ConvertError
from toolkit.kinds.llm.facts import Details


def test_parameters_are_counted_and_types_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    big, small = torch.zeros(10, 10, dtype=torch.bfloat16), torch.zeros(5)
    save_file({"a": big}, tmp_path / "model-1.safetensors")
    save_file({"b": small}, tmp_path / "model-2.safetensors")
    size = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert describe(tmp_path) == Details(
        family="llama", parameters=105, size_bytes=size, quantization="BF16"
    )
    quantized = {"model_type": "llama", "quantization_config": {"quant_method": "awq"}}
    (tmp_path / "config.json").write_text(json.dumps(quantized))
    assert describe(tmp_path).quantization == "AWQ"
    assert describe(tmp_path).parameters == 0


@pytest.mark.parametrize("kept", [4, 30, -10])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    (tmp_path / "config.json").write_text("{}")
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(100)}, file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ConvertError, match=r"model\.safetensors is not a complete"):
        describe(tmp_path)
