"""No conversion or quantization invents or loses a weight: what is missing, extra, misnamed or
misshapen in a source is named and refused before anything is written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.support.tiny_language import save_tiny_language
from tests.support.tiny_models import SIZES, save_cross_encoder, save_tokenizer
from tests.support.tiny_pipeline import save_tiny_pipeline, save_tiny_xl
from toolkit.convert import strict
from toolkit.convert.checkpoint import convert_checkpoint
from toolkit.convert.quiet import quiet
from toolkit.convert.reranker import convert_reranker
from toolkit.convert.run import Request, convert
from toolkit.errors import ConvertError, ToolkitError
from toolkit.progress import silent
from toolkit.quantize.checkpoint import read_checkpoint

Tensors = dict[str, torch.Tensor]
Convert = Callable[[Path, Path], Any]

CONVERSIONS: dict[str, tuple[str, Convert]] = {
    "gguf": ("llama", lambda s, o: convert(s, Request("gguf"), o, silent)),
    "onnx decoder": ("llama", lambda s, o: convert(s, Request("onnx"), o, silent)),
    "tensorrt-llm": ("llama", lambda s, o: convert(s, Request("tensorrt-llm"), o, silent)),
    "tensorrt-llm fp8": (
        "llama",
        lambda s, o: convert(s, Request("tensorrt-llm", quantization="fp8"), o, silent),
    ),
    "copy": ("llama", lambda s, o: convert_checkpoint(s, o, silent)),
    "quantize": ("llama", lambda s, _: read_checkpoint(s)),
    "onnx encoder": ("bert", lambda s, o: convert(s, Request("onnx"), o, silent)),
    "onnx reranker": ("reranker", lambda s, o: convert_reranker(s, o, silent)),
}
NAMES = {
    "llama": "model.layers.1.mlp.up_proj.weight",
    "bert": "encoder.layer.1.attention.self.key.weight",
    "reranker": "bert.encoder.layer.1.attention.self.key.weight",
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    with quiet():
        save_tiny_language(folder / "llama")
        save_cross_encoder(folder / "reranker")
        config = transformers.BertConfig(**SIZES)
        transformers.BertModel(config).save_pretrained(folder / "bert")
        save_tokenizer(folder / "bert")
    return folder


def changed(source: Path, place: Path, change: Callable[[Tensors], Any]) -> Path:
    shutil.copytree(source, place)
    tensors = load_file(place / "model.safetensors")
    change(tensors)
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    return place


def drop(tensors: Tensors, name: str) -> None:
    del tensors[name]


def rename(tensors: Tensors, name: str) -> None:
    tensors[name.replace("er", "err")] = tensors.pop(name)


def add(tensors: Tensors, name: str) -> None:
    tensors[name.replace(".1.", ".2.")] = tensors[name].clone()


def reshape(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name][:4].clone()


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, "missing: {own}(\n|$)"),
        (rename, "missing: {own}; unexpected: {own_renamed}"),
        (add, "unexpected: {own_added}"),
        (reshape, r"of another shape: {own} \[4, "),
    ],
)
def test_a_source_that_is_not_its_configs_model_is_refused(
    sources: Path, tmp_path: Path, conversion: str, change: Any, message: str
) -> None:
    model, run = CONVERSIONS[conversion]
    name = NAMES[model]
    source = changed(sources / model, tmp_path / "source", lambda t: change(t, name))
    own = {
        "own": name,
        "own_renamed": name.replace("er", "err"),
        "own_added": name.replace(".1.", ".2."),
    }
    with pytest.raises(ToolkitError, match=message.format(**own)) as caught:
        run(source, tmp_path / "out")
    assert caught.value.message.startswith("source does not contain the weights of the model")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def sharded(source: Path, place: Path) -> dict[str, str]:
    """Two shards and their index, which is returned."""
    shutil.copytree(source, place)
    tensors = load_file(place / "model.safetensors")
    (place / "model.safetensors").unlink()
    names, places = sorted(tensors), {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, place / file, metadata={"format": "pt"})
        places |= dict.fromkeys(part, file)
    write_index(place, places)
    return places


def write_index(folder: Path, places: dict[str, str]) -> None:
    content = json.dumps({"metadata": {}, "weight_map": places})
    (folder / "model.safetensors.index.json").write_text(content)


@pytest.mark.parametrize(
    "conversion", [name for name in CONVERSIONS if "llama" in CONVERSIONS[name]]
)
def test_shards_and_their_index_agree_or_are_refused(
    sources: Path, tmp_path: Path, conversion: str
) -> None:
    _, run = CONVERSIONS[conversion]
    source = tmp_path / "source"
    places = sharded(sources / "llama", source)
    first, second = sorted(set(places.values()))
    name = next(name for name, file in places.items() if file == second)

    def refuses(message: str) -> None:
        with pytest.raises(ToolkitError, match=message):
            run(source, tmp_path / "out")

    write_index(source, places | {"model.extra.weight": first})
    refuses(rf"index.json names model.extra.weight \({first}\), which the file does not contain")
    write_index(source, places | {name: first})
    refuses(rf"index.json names {name} \({first}\)")
    write_index(source, places)
    moved = load_file(source / second)
    save_file(moved | {next(iter(load_file(source / first))): torch.ones(1)}, source / second)
    refuses(f"twice: in {first} and in {second}")
    (source / second).unlink()
    refuses(f"lacks {second}, which model.safetensors.index.json names")
    (source / "model.safetensors.index.json").write_text('{"weight_map": []}')
    refuses("is not a valid index of weights")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_libraries_leave_out_on_purpose_is_no_reason_to_refuse(
    sources: Path, tmp_path: Path
) -> None:
    def older(tensors: Tensors) -> None:
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    def oldest(tensors: Tensors) -> None:
        tensors["embeddings.position_ids"] = torch.arange(64)[None]
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            tensors[old.replace("LayerNorm.bias", "LayerNorm.beta")] = tensors.pop(name)
        del tensors["pooler.dense.weight"], tensors["pooler.dense.bias"]

    def of_another_task(tensors: Tensors) -> None:
        for name in list(tensors):
            tensors[f"bert.{name}"] = tensors.pop(name)
        tensors["cls.predictions.bias"] = torch.ones(15)

    causal = transformers.AutoModelForCausalLM
    loaded = strict.load(causal, changed(sources / "llama", tmp_path / "older", older))
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    for number, change in enumerate((oldest, of_another_task)):
        source = changed(sources / "bert", tmp_path / str(number), change)
        strict.load(transformers.AutoModel, source, body=True)


def test_a_head_that_differs_from_the_embeddings_it_is_tied_to_is_refused(
    sources: Path, tmp_path: Path
) -> None:
    """Engines drop it, transformers keeps it."""

    def untie(tensors: Tensors) -> None:
        tensors["lm_head.weight"] = -tensors["model.embed_tokens.weight"]

    source = changed(sources / "llama", tmp_path / "source", untie)
    with pytest.raises(ConvertError, match=r"ties lm_head\.weight to model\.embed_tokens\.weight"):
        convert(source, Request("gguf"), tmp_path / "out", silent)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(sources: Path, tmp_path: Path, value: float) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors[NAMES["llama"]].view(-1)[0] = value

    source = changed(sources / "llama", tmp_path / "source", spoil)
    message = rf"{NAMES['llama']} in model\.safetensors has values that are NaN or infinite"
    with pytest.raises(ConvertError, match=message):
        convert(source, Request("gguf"), tmp_path / "out", silent)


@pytest.mark.parametrize("conversion", ["gguf", "copy", "quantize"])
@pytest.mark.parametrize(
    "settings", [{"hidden_act": "nope"}, {"rope_scaling": {"rope_type": "weird"}}]
)
def test_settings_that_make_no_model_are_refused(
    conversion: str, settings: dict[str, Any], sources: Path, tmp_path: Path
) -> None:
    shutil.copytree(sources / "llama", tmp_path / "source")
    config = tmp_path / "source" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | settings))
    with pytest.raises(ConvertError, match=r"KeyError: '(nope|weird)'"):
        CONVERSIONS[conversion][1](tmp_path / "source", tmp_path / "out")


@pytest.mark.parametrize("conversion", ["gguf", "onnx encoder", "onnx reranker"])
def test_the_model_is_compared_with_its_files_and_not_with_itself(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conversion: str
) -> None:
    """A library that loads one number wrongly is noticed, although both sides of parity have it."""
    load = transformers.PreTrainedModel.from_pretrained.__func__

    def wrong(kind: Any, *arguments: Any, **options: Any) -> Any:
        found = load(kind, *arguments, **options)
        model = found[0] if isinstance(found, tuple) else found
        with torch.no_grad():
            next(p for p in reversed(list(model.parameters())) if p.ndim == 2)[0, 0] += 0.5
        return found

    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", classmethod(wrong))
    model, run = CONVERSIONS[conversion]
    with pytest.raises(ConvertError, match=r"differs between the loaded model and model\.safe"):
        run(sources / model, tmp_path / "out")


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pipelines")
    with quiet():
        return {"sd": save_tiny_pipeline(folder / "sd"), "xl": save_tiny_xl(folder / "xl")}


@pytest.mark.parametrize(
    ("kind", "part"),
    [("sd", "unet"), ("sd", "vae"), ("sd", "text_encoder"), ("xl", "text_encoder_2")],
)
def test_a_pipelines_part_that_is_not_its_configs_model_is_refused(
    pipelines: dict[str, Path], tmp_path: Path, kind: str, part: str
) -> None:
    source = tmp_path / "source"
    shutil.copytree(pipelines[kind], source)
    (file,) = (source / part).glob("*.safetensors")
    whole = load_file(file)
    name = next(name for name in whole if name.endswith("weight") and whole[name].ndim > 1)

    def refuses(tensors: Tensors, message: str) -> None:
        save_file(tensors, file, metadata={"format": "pt"})
        with pytest.raises(ConvertError, match=message):
            convert(source, Request("onnx"), tmp_path / "out", silent)
        assert not (tmp_path / "out").exists()

    rest = {each: tensor for each, tensor in whole.items() if each != name}
    refuses(rest, f"{part} does not contain .*; missing: {name}")
    refuses(rest | {f"{name}s": whole[name]}, f"missing: {name}; unexpected: {name}s")
    refuses(whole | {"other.weight": torch.ones(2)}, "unexpected: other.weight")
    refuses(whole | {name: whole[name][:1].clone()}, rf"of another shape: {name} \[1, ")
    file.unlink()
    with pytest.raises(ConvertError, match=f"{part} does not contain safetensors weights"):
        convert(source, Request("onnx"), tmp_path / "out", silent)


def test_old_names_of_a_decoders_attention_are_known(
    pipelines: dict[str, Path], tmp_path: Path
) -> None:
    from diffusers import AutoencoderKL

    from toolkit.convert.strict_parts import check_part, load_part

    source = tmp_path / "vae"
    shutil.copytree(pipelines["sd"] / "vae", source)
    file = source / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(file)
    for name in list(tensors):
        for new, word in old.items():
            if f".{new}." in name:
                tensors[name.replace(new, word)] = tensors.pop(name)
    save_file(tensors, file, metadata={"format": "pt"})
    with quiet():
        load_part(AutoencoderKL, source, check_part(AutoencoderKL, source))


def test_a_quantized_checkpoint_is_copied_whole_or_not_at_all(
    sources: Path, tmp_path: Path
) -> None:
    def pack(tensors: Tensors) -> None:
        for name in list(tensors):
            if name.endswith("proj.weight"):
                tensors[name.replace("weight", "qweight")] = tensors.pop(name)

    source = changed(sources / "llama", tmp_path / "source", pack)
    config = json.loads((source / "config.json").read_text())
    quantized = config | {"quantization_config": {"quant_method": "awq"}}
    (source / "config.json").write_text(json.dumps(quantized))
    convert_checkpoint(source, tmp_path / "out", silent)
    tensors = load_file(source / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.qweight"]
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConvertError, match=r"missing: model\.layers\.1\.mlp\.up_proj(\n|$)"):
        convert_checkpoint(source, tmp_path / "other", silent)


@pytest.fixture(scope="module")
def sentences(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder as sentence-transformers publishes it."""
    from sentence_transformers import SentenceTransformer

    folder = tmp_path_factory.mktemp("sentences") / "encoder"
    with quiet():
        SentenceTransformer(str(sources / "bert"), device="cpu").save(str(folder))
    return folder


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "config_sentence_transformers.json",
            {"prompts": {"q": "query: "}, "default_prompt_name": "q"},
            r"begins every text with 'query: ' \(default_prompt_name 'q'\)",
        ),
        ("config_sentence_transformers.json", [1], "contains a list, not an object"),
        ("modules.json", [], "does not list modules"),
        ("sentence_bert_config.json", {"max_seq_length": "x"}, r"max_seq_length \(x\) must be"),
        ("tokenizer_config.json", None, "tokenizer_config.json contains a NoneType"),
        ("config.json", {"hidden_size": "16"}, "config.json: Field 'hidden_size' expected int"),
    ],
)
def test_odd_settings_of_an_encoder_are_named(
    sentences: Path, tmp_path: Path, file: str, content: Any, message: str
) -> None:
    source = tmp_path / "source"
    shutil.copytree(sentences, source)
    if isinstance(content, dict):
        content = json.loads((source / file).read_text()) | content
    (source / file).write_text(json.dumps(content))
    with pytest.raises(ConvertError, match=message):
        convert(source, Request("onnx"), tmp_path / "out", silent)
    (source / file).write_text("{")
    with pytest.raises(ConvertError, match=f"{file}.* is not valid"):
        convert(source, Request("onnx"), tmp_path / "out", silent)
