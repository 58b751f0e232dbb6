"""LoRA adapters and an own chat template, built from models.yaml and served by the real engine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import request_of, tensors_of
from tests.support.triton import serving
from tests.support.weights import write_llama
from toolkit.building import build
from toolkit.errors import BuildError
from toolkit.serve.models import public_models
from toolkit.serve.triton import TritonServer
from toolkit.spec import load
from toolkit.targets import find_target

MODELS = """
version: 1
models:
  tiny:
    kind: llm
    source: path:llama
    context_length: 128
    chat_template: chat.jinja
    warmup: true
    priority: true
    parts: {prompt: {instances: 1, warmup: true}}
    engine_args: {max_num_seqs: 4, kv_cache_memory_bytes: 67108864, dtype: float32}
    adapters:
      tiny-pirate: {source: path:pirate, aliases: [arr]}
      tiny-poet: {source: path:poet}
"""
RANK, ALPHA = 4, 64
TEXT = "the sea is"


def save_adapter(folder: Path, seed: int) -> Path:
    """A random adapter of every layer's query and value projections."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(2):
        for part in ("q_proj", "v_proj"):
            name = f"base_model.model.model.layers.{layer}.self_attn.{part}"
            tensors[f"{name}.lora_A.weight"] = torch.randn(RANK, 64, generator=generator)
            tensors[f"{name}.lora_B.weight"] = torch.randn(64, RANK, generator=generator)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    config |= {"target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": "tiny"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    write_llama(folder / "llama")
    save_adapter(folder / "pirate", 1)
    save_adapter(folder / "poet", 2)
    (folder / "chat.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    (folder / "models.yaml").write_text(MODELS)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[TritonServer]:
    repository = folder / "repository"
    build(load(folder / "models.yaml"), find_target("embedded"), repository)
    with serving(repository, folder / "log") as server:
        yield server


def answer(server: TritonServer, model: str, **prompt: object) -> list[int]:
    """The greedy answer's token ids."""
    sampling = {"max_tokens": 12, "temperature": 0, "ignore_eos": True, "priority": 3}
    request = request_of(model, {"prompt": prompt, "sampling_parameters": sampling})
    ids: list[int] = []
    for response in server.api.ModelStreamInfer(iter([request]), timeout=120):
        assert not response.error_message
        for text in tensors_of(response.infer_response).get("event", ()):
            ids += json.loads(text)["token_ids"]
    return ids


def merged(folder: Path, adapter: str | None, text: str) -> list[int]:
    """What the library's model answers with the adapter's product added to its weights."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder / "llama", dtype=torch.float32)
    if adapter:
        tensors = load_file(folder / adapter / "adapter_model.safetensors")
        for name, low in tensors.items():
            if name.endswith("lora_A.weight"):
                high = tensors[name.replace("lora_A", "lora_B")]
                place = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
                model.get_submodule(place).weight.data += ALPHA / RANK * (high @ low)
    ids = AutoTokenizer.from_pretrained(folder / "llama")(text, return_tensors="pt").input_ids
    output = model.generate(ids, max_new_tokens=12, min_new_tokens=12, do_sample=False)
    return [int(token) for token in output[0, ids.shape[1] :]]


def test_each_name_answers_with_its_own_weights(server: TritonServer, folder: Path) -> None:
    names = {"tiny": None, "tiny-pirate": "pirate", "tiny-poet": "poet"}
    answers = {name: answer(server, name, text=TEXT) for name in names}
    for name, adapter in names.items():
        assert answers[name] == merged(folder, adapter, TEXT), name
    assert len({tuple(ids) for ids in answers.values()}) == 3


def test_adapters_are_models_of_their_own(server: TritonServer, folder: Path) -> None:
    models = {model.name: model for model in public_models(folder / "repository")}
    assert set(models) == {"tiny", "tiny-pirate", "tiny-poet"}
    pirate = models["tiny-pirate"]
    assert json.loads(pirate.parameter("toolkit.aliases")) == ["arr"]
    assert pirate.parameter("toolkit.cancel") == "tiny.engine"
    assert pirate.parameter("toolkit.source") == "path:pirate"


def test_an_own_template_is_used(server: TritonServer) -> None:
    chat = answer(server, "tiny", messages=[{"role": "user", "content": TEXT}])
    plain = answer(server, "tiny", text=TEXT, add_special_tokens=False)
    assert chat == plain


def test_tritons_own_requests_name_adapters(server: TritonServer) -> None:
    sampling = {"temperature": 0, "lora_name": "tiny-pirat"}
    request = request_of("tiny.engine", {"text_input": [TEXT], "sampling_parameters": sampling})
    (response,) = server.api.ModelStreamInfer(iter([request]), timeout=60)
    assert "did you mean 'tiny-pirate'?" in response.error_message


@pytest.mark.usefixtures("own_home")
def test_what_is_no_adapter_is_refused(tmp_path: Path, folder: Path) -> None:
    bad = save_adapter(tmp_path / "bad", 1)
    weights, config = bad / "adapter_model.safetensors", bad / "adapter_config.json"
    kept = weights.read_bytes()
    for name, broken, content in (
        ("no adapter_model.safetensors", weights, None),
        ("of type IA3", config, b'{"peft_type": "IA3", "r": 2}'),
        ("cannot be read", config, b"{"),
    ):
        weights.write_bytes(kept)
        broken.unlink()
        if content is not None:
            broken.write_bytes(content)
        text = MODELS.replace("path:pirate", f"path:{bad}")
        (folder / "bad.yaml").write_text(text)
        with pytest.raises(BuildError, match=name):
            build(load(folder / "bad.yaml"), find_target("embedded"), tmp_path / "out")
