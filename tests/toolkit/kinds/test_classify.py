"""Weights that a kind cannot serve are refused by what they say that they are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.building import apply, build
from toolkit.engine_arguments import engine
from toolkit.errors import ToolkitError
from toolkit.kinds.classify import Weights, classify, classify_gguf, refusal
from toolkit.kinds.files import read_files
from toolkit.spec import load
from toolkit.targets import find_target
from toolkit.weights.sources import Fetched

VLLM = engine("0.32.0")
LABEL = {"id2label": {"0": "LABEL_0"}}
LABELS = {"id2label": {"0": "bad", "1": "good"}}
POOLED = [{"type": "sentence_transformers.models.Pooling"}]


def _save(folder: Path, files: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def _config(name: str, **more: object) -> dict[str, Any]:
    return {"config.json": {"architectures": [name], **more}}


@pytest.mark.parametrize(
    ("kind", "files", "what", "fix"),
    [
        ("llm", _config("BertForSequenceClassification", **LABEL), "a cross-encoder", "rerank"),
        ("llm", _config("BertModel"), "an encoder of texts", "embedding"),
        ("llm", _config("XLMRobertaForMaskedLM"), "an encoder of texts", "embedding"),
        ("llm", _config("Gemma3TextModel"), "an encoder of texts", "embedding"),
        ("llm", _config("BertForSequenceClassification", **LABELS), "classifier", "python"),
        ("llm", _config("T5ForConditionalGeneration", is_encoder_decoder=True), "T5For", "decoder"),
        ("llm", _config("MptForCausalLM"), "0.28.0 was the last version", "another model"),
        ("llm", _config("LlamaForCausalLLM"), "does not load", "`LlamaForCausalLM`"),
        ("llm", {"adapter_config.json": {}}, "a LoRA adapter", "adapters"),
        ("llm", {"model_index.json": {"_class_name": "X"}}, "pipeline (X)", "diffusion"),
        (
            "llm",
            {**_config("Qwen3ForCausalLM"), "modules.json": POOLED},
            "an encoder of texts",
            "embedding",
        ),
        ("embedding", _config("LlamaForCausalLM"), "a language model", "llm"),
        ("embedding", _config("BertForSequenceClassification", **LABEL), "cross-enc", "rerank"),
        ("rerank", _config("GPT2LMHeadModel"), "a language model", "llm"),
        ("rerank", _config("BertModel"), "an encoder of texts", "embedding"),
        ("rerank", _config("BertForSequenceClassification"), "2 labels", "python"),
        ("diffusion", _config("LlamaForCausalLM"), "a language model", "llm"),
    ],
)
def test_weights_of_another_kind_are_refused(
    tmp_path: Path, kind: str, files: dict[str, Any], what: str, fix: str
) -> None:
    refused = refusal(kind, _save(tmp_path / "w", files), VLLM if kind == "llm" else None)
    assert refused is not None
    assert what in refused[0]
    assert fix in refused[1]


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("llm", _config("LlamaForCausalLM")),
        ("llm", _config("SmolLM3ForCausalLM")),
        ("llm", _config("TheirsForCausalLM")),  # transformers' own code may know it
        ("llm", _config("Theirs", auto_map={"AutoModelForCausalLM": "theirs.Theirs"})),
        ("llm", _config("Qwen2VLForConditionalGeneration")),
        ("llm", {"config.json": {}}),
        ("embedding", {**_config("Qwen3ForCausalLM"), "modules.json": POOLED}),
        ("embedding", _config("NewModel")),
        ("rerank", _config("XLMRobertaForSequenceClassification", **LABEL)),
        ("python", _config("BertModel")),
    ],
)
def test_weights_of_the_kind_are_accepted(tmp_path: Path, kind: str, files: dict[str, Any]) -> None:
    assert refusal(kind, _save(tmp_path / "w", files), VLLM if kind == "llm" else None) is None


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        # an encoder saved alone keeps `is_encoder_decoder` of the pair that it comes from
        ("embedding", _config("T5EncoderModel", is_encoder_decoder=True)),
        # id2label decides, as in transformers: its count replaces num_labels
        ("rerank", _config("BertForSequenceClassification", num_labels=2, **LABEL)),
        ("", _config("BertForSequenceClassification", num_labels=1, **LABELS)),
        ("", _config("BertForTokenClassification")),
        # a list of modules without pooling does not make a vector
        ("llm", {**_config("Qwen3ForCausalLM"), "modules.json": [{"type": "a.Transformer"}]}),
        ("rerank", {**_config("BertForSequenceClassification", **LABEL), "modules.json": []}),
        # vectors of text and image models are of the decoder that writes text
        ("llm", _config("Qwen2VLForConditionalGeneration")),
        ("embedding", {"modules.json": POOLED}),
    ],
)
def test_one_answer_for_builds_names_and_conversions(
    tmp_path: Path, kind: str, files: dict[str, Any]
) -> None:
    found = classify(read_files(_save(tmp_path / "w", files)))
    assert (found.kind, found.certain) == (kind, kind != "")
    assert bool(found.fix) == (kind == "")


def test_a_guess_is_not_certain(tmp_path: Path) -> None:
    masked = classify(read_files(_save(tmp_path / "w", _config("BertForMaskedLM"))))
    assert masked == Weights("embedding", "an encoder of texts (BertForMaskedLM)")
    assert classify(read_files(_save(tmp_path / "x", {"config.json": {}}))) == Weights()


def test_a_gguf_file_says_its_architecture() -> None:
    assert classify_gguf("llama").kind == "llm"
    refused = classify_gguf("bert")
    assert (refused.kind, "architecture bert" in refused.what) == ("", True)


def test_a_gguf_file_is_a_language_model_only(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    assert refusal("llm", file, VLLM) is None
    assert refusal("embedding", file, None) is not None


def _spec(folder: Path, source: str) -> Path:
    file = folder / "models.yaml"
    file.write_text(f"version: 1\nmodels:\n  find:\n    kind: embedding\n    source: {source}\n")
    return file


@pytest.mark.parametrize("source", ["path:w", "hf:a/b"])
def test_a_build_refuses_them_at_the_line_of_their_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    folder = _save(tmp_path / "w", _config("LlamaForCausalLM"))

    def fetched(*_: object, check: Callable[[Path], None]) -> Fetched:
        check(folder)  # as before a download
        raise AssertionError

    monkeypatch.setattr(apply, "fetch", fetched)
    with pytest.raises(ToolkitError) as refused:
        build(load(_spec(tmp_path, source)), find_target("embedded"), tmp_path / "out")
    (finding,) = refused.value.findings  # type: ignore[attr-defined]
    assert (finding.place.line, finding.place.field) == (4, "models.find.kind")
    assert "the weights are a language model (LlamaForCausalLM)" in finding.text
    assert finding.fix == "write `kind: llm`"
