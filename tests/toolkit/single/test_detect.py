"""Kinds are detected from file names and config.json, and what cannot be served is named."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import COMMIT, serve_model
from tests.support.web import Web
from toolkit.catalogue import catalogue
from toolkit.errors import SourceError
from toolkit.fields.source import parse_source
from toolkit.kinds.files import Files
from toolkit.progress import silent
from toolkit.single.detect import choose_gguf, kind_of, longest_context
from toolkit.single.entry import Single, build, plan
from toolkit.single.source import read_source
from toolkit.spec import parse
from toolkit.weights.fetch import fetch

# a process of its own, as the Hub's library reads HF_ENDPOINT when it is imported
PLAN = """
import sys
from toolkit.progress import silent
from toolkit.single.entry import plan
from toolkit.single.source import read_source
print(plan(sys.argv[1], read_source(sys.argv[1]), silent).text)
"""


def config(name: str, **fields: Any) -> dict[str, Any]:
    return {"architectures": [name], "vocab_size": 8, **fields}


POOLING = ("sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling")


@pytest.mark.parametrize(
    ("kind", "names", "config_json", "modules"),
    [
        ("llm", ["config.json"], config("Qwen3ForCausalLM"), ()),
        ("llm", ["config.json"], config("GPT2LMHeadModel"), ()),
        ("llm", ["config.json"], config("Idefics3ForConditionalGeneration"), ()),
        ("embedding", ["config.json", "modules.json"], config("Qwen3ForCausalLM"), POOLING),
        ("embedding", ["config.json", "modules.json"], {}, POOLING),
        ("embedding", ["config.json"], config("BertModel"), ()),
        ("rerank", ["modules.json"], config("BertForSequenceClassification", num_labels=1), ()),
        (
            "rerank",
            [],
            config("XLMRobertaForSequenceClassification", id2label={"0": "LABEL_0"}),
            (),
        ),
        ("diffusion", ["model_index.json", "unet/config.json"], {}, ()),
    ],
)
def test_a_kind(
    kind: str, names: list[str], config_json: dict[str, Any], modules: tuple[str, ...]
) -> None:
    assert kind_of("x", Files(names, config_json, modules)) == kind


@pytest.mark.parametrize(
    ("names", "config_json", "message"),
    [
        ([], config("BertForSequenceClassification"), "a classifier with 2 labels"),
        ([], config("T5ForConditionalGeneration", is_encoder_decoder=True), "encoder-decoder"),
        (["config.json"], config("BertForMaskedLM"), "its architecture is BertForMaskedLM"),
        (["config.json"], {"architectures": ["ViTModel"]}, "its architecture is ViTModel"),
        (["adapter_config.json"], {}, "is a LoRA adapter"),
        (["config.json"], {}, "config.json does not name an architecture"),
        (["README.md"], {}, "only README.md"),
        ([], {}, "no files"),
    ],
)
def test_what_cannot_be_served(names: list[str], config_json: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        kind_of("x", Files(names, config_json))
    assert caught.value.hint


def test_one_of_several_gguf_files() -> None:
    files = ["m-F16.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "mmproj-Q8_0.gguf", "README.md"]
    assert choose_gguf(files) == "m-Q8_0.gguf"
    assert choose_gguf(files[:2]) == "m-Q4_K_M.gguf"
    parts = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    assert choose_gguf(reversed(parts)) == parts[0]  # type: ignore[arg-type]
    assert choose_gguf(["a.bin"]) is None


def test_contexts() -> None:
    assert longest_context({"max_position_embeddings": 9}) == 9
    assert longest_context({"text_config": {"max_position_embeddings": 9}}) == 9
    assert longest_context({"text_config": None}) is None


def planned(text: str, **options: Any) -> Single:
    return plan(text, read_source(text), silent, **options)


def test_a_directory_is_built_and_again_without_work(own_home: Path, tmp_path: Path) -> None:
    from tests.support.tiny_models import save_cross_encoder  # with torch: seconds

    folder = tmp_path / "Judge"
    folder.mkdir()
    save_cross_encoder(folder)
    single = planned(str(folder))
    assert (single.name, single.kind) == ("judge", "rerank")
    repository = build(single, silent)
    assert (repository / "judge.encoder" / "1" / "model.onnx").exists()
    assert own_home in repository.parents
    assert build(single, silent) == repository


def test_a_gguf_file_and_its_context(tmp_path: Path) -> None:
    cached = fetch(parse_source(catalogue()["smollm2-135m-instruct"].source), tmp_path, silent)
    file = tmp_path / "My Model.gguf"
    file.symlink_to(cached.path)
    single = planned(str(file))
    assert (single.name, single.kind) == ("my-model", "llm")
    assert single.context_length == single.longest_context == 8192
    assert planned(str(file), context_length=16).context_length == 16
    parsed = parse("models.yaml", single.text, tmp_path)
    assert parsed.models["my-model"].kind == "llm"


def test_a_known_name_keeps_its_name() -> None:
    single = planned("all-minilm-l6-v2")
    assert (single.name, single.kind) == ("all-minilm-l6-v2", "embedding")
    assert "context_length" not in single.text
    assert planned("smollm2-135m-instruct").context_length == 8192


def _planned_from_the_hub(web: Web, home: Path, files: dict[str, bytes]) -> str:
    """The models.yaml for a model of a Hub that has `files`."""
    serve_model(web, "Org/Name", files)
    place = f"/Org/Name/resolve/{COMMIT}"
    for name in files:
        if name.endswith(".json"):
            web.headers[f"{place}/{name}"] = {"X-Repo-Commit": COMMIT, "ETag": f'"{name}"'}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": web.url, "HF_HOME": str(home)}
    ran = subprocess.run(
        [sys.executable, "-c", PLAN, "hf:Org/Name"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert not web.asked(f"{place}/a.safetensors")
    return ran.stdout


def test_the_hub_is_asked_before_weights_are_downloaded(
    web: Web, own_home: Path, tmp_path: Path
) -> None:
    files = {"config.json": json.dumps(config("LlamaForCausalLM")).encode(), "a.safetensors": b"x"}
    planned = _planned_from_the_hub(web, tmp_path / "hf", files)
    assert 'kind: "llm"' in planned
    assert "context_length: 8192" in planned
    assert 'aliases: ["Org/Name", "hf:Org/Name"]' in planned


@pytest.mark.parametrize(
    ("modules", "kind"), [(POOLING, "embedding"), (POOLING[:1], "llm")], ids=["pools", "writes"]
)
def test_the_hub_is_asked_for_the_modules_of_a_decoder(
    web: Web, own_home: Path, tmp_path: Path, modules: tuple[str, ...], kind: str
) -> None:
    files = {
        "config.json": json.dumps(config("Qwen3ForCausalLM")).encode(),
        "modules.json": json.dumps([{"type": each} for each in modules]).encode(),
        "a.safetensors": b"x",
    }
    assert f'kind: "{kind}"' in _planned_from_the_hub(web, tmp_path / "hf", files)
