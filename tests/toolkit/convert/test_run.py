"""`toolkit convert` as a function: every goal, its parity record, and what it refuses."""

import json
import math
import shlex
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.tiny_language import save_tiny_language
from tests.support.tiny_models import save_cross_encoder
from toolkit.convert import parity, run
from toolkit.convert.quiet import quiet
from toolkit.convert.run import Request, convert
from toolkit.errors import ConvertError
from toolkit.progress import silent


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        return save_tiny_language(tmp_path_factory.mktemp("llama") / "tiny")


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("architecture", "style", "kind"),
    [("llama", "smollm", "F32"), ("llama", "llama-bpe", "Q8_0"), ("qwen2", "qwen2", "F16")],
)
def test_gguf_answers_like_its_source(
    tmp_path: Path, architecture: str, style: str, kind: str
) -> None:
    with quiet():
        source = save_tiny_language(tmp_path / "tiny", architecture=architecture, style=style)
    record = convert(source, Request("gguf", gguf_type=kind), tmp_path / "out", silent)
    assert record["passed"]
    assert record["parity"][0]["difference"] < record["parity"][0]["tolerance"]
    fields = gguf.GGUFReader(tmp_path / "out" / f"tiny-{kind}.gguf").fields
    assert fields["general.architecture"].contents() == architecture
    assert fields["tokenizer.ggml.pre"].contents() == style
    assert left_behind(tmp_path / "out") == ["conversion.json", f"tiny-{kind}.gguf"]


def test_gguf_and_back_reproduces_the_logits(llama: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    convert(llama, Request("gguf", gguf_type="F32"), tmp_path / "gguf", silent)
    file = tmp_path / "gguf" / "tiny-F32.gguf"
    record = convert(file, Request("safetensors"), tmp_path / "back", silent)
    assert record["passed"]
    with quiet(), torch.inference_mode():
        tokens = AutoTokenizer.from_pretrained(llama)(parity.SENTENCES[5], return_tensors="pt")
        logits = [
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(**tokens).logits
            for folder in (llama, tmp_path / "back")
        ]
    # the weights were bfloat16 to begin with, so the way there and back loses nothing
    assert torch.equal(*logits)


def test_a_wrong_mapping_would_be_noticed(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.convert import to_gguf

    monkeypatch.setattr(to_gguf, "_interleave", lambda values, _: values)
    asked = Request("gguf", gguf_type="F16")
    with pytest.raises(ConvertError, match="nats from the source"):
        convert(llama, asked, tmp_path / "out", silent)
    assert left_behind(tmp_path) == []
    forced = convert(llama, Request("gguf", force=True), tmp_path / "out", silent)
    assert not forced["passed"]
    assert json.loads((tmp_path / "out" / "conversion.json").read_text())["forced"]


def test_a_check_that_is_not_a_number_stays_the_worst_of_its_part(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(*_: object) -> dict[str, object]:
        for difference in (0.5, float("nan"), 0.25):
            parity.record(parity.Check("part", "difference", difference, 1.0), "it differs")
        return {}

    monkeypatch.setattr(run, "_convert", compare)
    record = convert(llama, Request("gguf", force=True), tmp_path / "out", silent)
    assert math.isnan(record["parity"][0]["difference"])
    assert not record["parity"][0]["passed"]
    assert not record["passed"]


def test_a_cross_encoder_becomes_a_rerank_graph(tmp_path: Path) -> None:
    source = save_cross_encoder(tmp_path / "source")
    record = convert(source, Request("onnx"), tmp_path / "out", silent)
    assert record["kind"] == "rerank"
    assert record["passed"]


def test_the_command_of_a_folder_with_a_space_can_be_pasted(llama: Path, tmp_path: Path) -> None:
    output = tmp_path / "my models; rm -r $HOME"
    record = convert(llama, Request("tensorrt-llm"), output, silent)
    assert f"{output}:/model" in shlex.split(record["command"])


def test_pickles_become_safetensors_bit_for_bit(llama: Path, tmp_path: Path) -> None:
    tensors = load_file(llama / "model.safetensors")
    source = tmp_path / "pickled"
    source.mkdir()
    torch.save(tensors, source / "pytorch_model.bin")
    (source / "config.json").write_text((llama / "config.json").read_text())
    with pytest.raises(ConvertError, match="--from-pickle"):
        convert(source, Request("safetensors"), tmp_path / "out", silent)
    record = convert(source, Request("safetensors", from_pickle=True), tmp_path / "out", silent)
    assert record["parity"][0]["difference"] == 0
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert {name: tensor.shape for name, tensor in written.items()} == {
        name: tensor.shape for name, tensor in tensors.items()
    }
    assert all(torch.equal(written[name], tensors[name]) for name in tensors)


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    source = tmp_path / "pytorch_model.bin"
    torch.save({"weight": _Touch(str(marker))}, source)
    asked = Request("safetensors", from_pickle=True)
    with pytest.raises(ConvertError, match="more than tensors"):
        convert(source, asked, tmp_path / "out", silent)
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


class _Touch:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_tensorrt_llm_is_written_and_never_called_executed(llama: Path, tmp_path: Path) -> None:
    record = convert(llama, Request("tensorrt-llm"), tmp_path / "out", silent)
    assert record["executed"] is False
    assert f"-v {tmp_path / 'out'}:/model" in record["command"]
    version = tmp_path / "out" / "model_repository" / "tensorrt_llm" / "1"
    settings = (version / "model.yaml").read_text()
    assert "model: /model/checkpoint" in settings
    assert (tmp_path / "out" / "checkpoint" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("onnx", "neither config.json nor"),
        ("gguf", "is not a checkpoint"),
        ("tensorrt-llm", "is not a checkpoint"),
    ],
)
def test_a_directory_that_is_no_checkpoint(tmp_path: Path, goal: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConvertError, match=message):
        convert(tmp_path / "empty", Request(goal), tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", {"architectures": ["XForTokenClassification"]}, "classifier with 2 labels"),
        ("config.json", {"architectures": ["BertForSequenceClassification"]}, "with 2 labels"),
        (
            "config.json",
            {"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True},
            "an encoder-decoder model",
        ),
        ("adapter_config.json", {}, "a LoRA adapter"),
    ],
)
def test_weights_of_no_kind_are_named_before_they_are_read(
    tmp_path: Path, file: str, content: dict[str, object], message: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / file).write_text(json.dumps(content))
    with pytest.raises(ConvertError, match=f"{message}.*, which cannot be converted") as caught:
        convert(source, Request("onnx"), tmp_path / "out", silent)
    assert caught.value.hint


def test_a_truncated_checkpoint(llama: Path, tmp_path: Path) -> None:
    source = tmp_path / "cut"
    source.mkdir()
    for file in llama.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    whole = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConvertError, match=r"incomplete: it has \d+ of \d+ bytes"):
        convert(source, Request("gguf"), tmp_path / "out", silent)


def test_unsupported_architectures_are_named(llama: Path, tmp_path: Path) -> None:
    source = tmp_path / "other"
    source.mkdir()
    config = json.loads((llama / "config.json").read_text())
    (source / "config.json").write_text(
        json.dumps(config | {"architectures": ["MambaForCausalLM"]})
    )
    save_file({"x": torch.zeros(1)}, source / "model.safetensors")
    with pytest.raises(ConvertError, match="MambaForCausalLM") as caught:
        convert(source, Request("gguf"), tmp_path / "out", silent)
    assert "LlamaForCausalLM" in (caught.value.hint or "")


def test_nothing_is_overwritten(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ConvertError, match="already exists"):
        convert(llama, Request("gguf"), tmp_path / "out", silent)


def test_nan_never_passes() -> None:
    with pytest.raises(ConvertError, match="differs by nan"):
        parity.check_close("part", np.array([np.nan]), np.array([1.0]), 1.0)
