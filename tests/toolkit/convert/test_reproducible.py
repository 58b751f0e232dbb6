"""Two runs of a conversion or a quantization write the same bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.support.checkpoint import tree
from tests.support.tiny_language import save_tiny_language
from tests.support.tiny_models import WORDS, save_cross_encoder, save_tokenizer
from tests.support.tiny_pipeline import save_tiny_pipeline
from toolkit.convert.quiet import quiet
from toolkit.convert.reranker import convert_reranker
from toolkit.convert.run import Request, convert
from toolkit.progress import silent
from toolkit.quantize.language import Judging, Options, quantize_language
from toolkit.quantize.limits import Limits
from toolkit.quantize.run import place_result
from toolkit.weights.sources import Fetched


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    with quiet():
        llama = save_tiny_language(folder / "llama")
        (folder / "pickled").mkdir()
        torch.save(load_file(llama / "model.safetensors"), folder / "pickled" / "pytorch_model.bin")
        save_cross_encoder(folder / "reranker")
        config = transformers.BertConfig(
            vocab_size=len(WORDS) + 4,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
        transformers.BertModel(config).save_pretrained(folder / "bert")
        save_tokenizer(folder / "bert")
        save_tiny_pipeline(folder / "pipeline")
    convert(llama, Request("gguf", gguf_type="Q8_0"), folder / "gguf", silent)
    return folder


def asked(name: str, goal: str, **options: Any) -> Callable[[Path, Path], Any]:
    return lambda sources, out: convert(sources / name, Request(goal, **options), out, silent)


def quantize(method: str, sources: Path, out: Path) -> None:
    options = Options(method, group_size=32, device="cpu", samples=2, length=32)
    judging = Judging(Limits(max_ppl_ratio=1e9, max_kl=1e9), passages=1, engine=False)
    fetched = Fetched(sources / "llama", str(out))  # a digest of its own: nothing is reused
    place_result(out, lambda place: quantize_language(fetched, options, judging, place, silent))


CONVERSIONS: dict[str, Callable[[Path, Path], Any]] = {
    "gguf": asked("llama", "gguf", gguf_type="Q4_0"),
    "safetensors of gguf": asked("gguf/llama-Q8_0.gguf", "safetensors"),
    "safetensors of pickles": asked("pickled", "safetensors", from_pickle=True),
    "onnx decoder": asked("llama", "onnx", precision="int4"),
    "onnx encoder": asked("bert", "onnx"),
    "onnx reranker": lambda s, o: convert_reranker(s / "reranker", o, silent),
    "onnx pipeline": asked("pipeline", "onnx"),
    "tensorrt-llm fp8": asked("llama", "tensorrt-llm", quantization="fp8"),
    "quantize gptq": lambda s, o: quantize("gptq", s, o),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_two_runs_give_the_same_bytes(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path / "home"))
    for run in ("one", "two"):
        CONVERSIONS[name](sources, tmp_path / run)
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    for each in (one, two):  # they have times and the output's path
        for file in [file for file in each if file.startswith("quality/")]:
            del each[file]
        each.pop("conversion.json", None)
    assert one.keys() == two.keys()
    assert [file for file in one if one[file] != two[file]] == []
