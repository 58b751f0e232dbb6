"""Two runs of a conversion write the same bytes.

The tests of diffusion pipelines, ONNX decoders and quantization, which have a first run, make the
second one there.
"""

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
from toolkit.convert.quiet import quiet
from toolkit.convert.reranker import convert_reranker
from toolkit.convert.run import Request, convert
from toolkit.progress import silent


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
    convert(llama, Request("gguf", gguf_type="Q8_0"), folder / "gguf", silent)
    return folder


def asked(name: str, goal: str, **options: Any) -> Callable[[Path, Path], Any]:
    return lambda sources, out: convert(sources / name, Request(goal, **options), out, silent)


CONVERSIONS: dict[str, Callable[[Path, Path], Any]] = {
    "gguf": asked("llama", "gguf", gguf_type="Q4_0"),
    "safetensors of gguf": asked("gguf/llama-Q8_0.gguf", "safetensors"),
    "safetensors of pickles": asked("pickled", "safetensors", from_pickle=True),
    "onnx encoder": asked("bert", "onnx"),
    "onnx reranker": lambda s, o: convert_reranker(s / "reranker", o, silent),
    "tensorrt-llm fp8": asked("llama", "tensorrt-llm", quantization="fp8"),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_two_runs_give_the_same_bytes(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path / "home"))
    for run in ("one", "two"):
        CONVERSIONS[name](sources, tmp_path / run)
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    for each in (one, two):  # it has the time and the output's path
        each.pop("conversion.json", None)
    assert one.keys() == two.keys()
    assert [file for file in one if one[file] != two[file]] == []
