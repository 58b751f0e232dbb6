"""Language models as ONNX decoders: what they answer, what is refused, what is noticed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime_genai
import pytest
import torch
from onnx import numpy_helper
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from tests.support.checkpoint import tree
from tests.support.tiny_language import ARCHITECTURES, save_tiny_language
from toolkit.cli import app
from toolkit.convert import decoder
from toolkit.convert.decoder_parity import Decoder
from toolkit.convert.quiet import quiet
from toolkit.convert.run import Request, convert
from toolkit.errors import ConvertError, MissingExtra
from toolkit.progress import silent

PROMPT = [5, 77, 301, 14, 9]
NEW = 12


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        return save_tiny_language(tmp_path_factory.mktemp("llama") / "tiny")


@pytest.fixture(scope="module")
def built(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model in each precision, as converted."""
    folder = tmp_path_factory.mktemp("built")
    for precision in decoder.PRECISIONS:
        convert(llama, Request("onnx", precision=precision), folder / precision, silent)
    return {precision: folder / precision for precision in decoder.PRECISIONS}


@pytest.fixture
def builder_writes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Any], None]:
    """Makes the builder write a copy of a folder, changed by a function of graph and folder."""

    def replace(folder: Path, change: Any = None) -> None:
        def write(_: Path, place: Path, *__: object) -> None:
            shutil.copytree(folder, place, dirs_exist_ok=True)
            (place / "conversion.json").unlink()
            if change is not None:
                model = onnx.load(place / "model.onnx")
                change(model.graph)
                onnx.save(model, place / "model.onnx")

        monkeypatch.setattr(decoder, "_build", write)

    return replace


def greedy(source: Path) -> list[int]:
    with quiet(), torch.inference_mode():
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        ids = list(PROMPT)
        for _ in range(NEW):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(PROMPT) :]


def greedy_through_the_cache(folder: Path) -> list[int]:
    graph = Decoder(folder)
    ids, past = np.array([PROMPT]), None
    mask = np.ones_like(ids)
    found: list[int] = []
    while len(found) < NEW:
        logits, past = graph.run(ids, mask, past)
        found.append(int(logits[0, -1].argmax()))
        ids = np.array([[found[-1]]])
        mask = np.ones((1, mask.shape[1] + 1), np.int64)
    return found


RESCALED = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_graph_says_what_its_source_says(tmp_path: Path, architecture: str) -> None:
    other = {"rope_parameters": RESCALED} if architecture == "llama" else {}
    with quiet():
        source = save_tiny_language(tmp_path / "tiny", architecture=architecture, **other)
    record = convert(source, Request("onnx"), tmp_path / "out", silent)
    assert record["passed"]
    assert {check["part"] for check in record["parity"]} == {
        "rotary positions",
        "logits in one pass",
        "logits through the cache",
        "logits of a padded batch",
    }
    assert greedy_through_the_cache(tmp_path / "out") == greedy(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tiny"]


def test_every_architecture_has_its_test(tmp_path: Path) -> None:
    names = set()
    for architecture in ARCHITECTURES:
        with quiet():
            source = save_tiny_language(tmp_path / architecture, architecture=architecture)
        names.update(json.loads((source / "config.json").read_text())["architectures"])
    assert names == set(decoder.ARCHITECTURES)


def test_the_record_says_what_the_directory_offers(built: dict[str, Path]) -> None:
    record = json.loads((built["fp32"] / "conversion.json").read_text())
    facts = record["facts"]
    assert record["kind"] == "llm"
    assert facts["context_length"] == 512
    assert facts["precision"] == "fp32"
    assert facts["padding"] == "right"
    assert facts["inputs"]["input_ids"] == "int64[batch_size, sequence_length]"
    assert facts["inputs"]["past_key_values.%d.key"].startswith("float[batch_size, 2, ")
    assert facts["outputs"]["logits"] == "float[batch_size, sequence_length, 400]"
    assert {path.name for path in built["fp32"].iterdir()} >= {
        "model.onnx",
        "model.onnx.data",
        "genai_config.json",
        "tokenizer.json",
    }


def test_int4_is_smaller_and_held_to_its_rounded_weights(built: dict[str, Path]) -> None:
    record = json.loads((built["int4"] / "conversion.json").read_text())
    found = {check["part"]: check["difference"] for check in record["parity"]}
    assert 0.05 < found["INT4 weights"] < 0.15
    assert found["INT4 logits through the cache"] > 0.01  # rounding costs something
    assert found["logits through the cache"] < 1e-4  # and nothing else does
    sizes = [(built[name] / "model.onnx.data").stat().st_size for name in ("int4", "fp32")]
    assert sizes[0] < sizes[1] / 3


def test_a_second_run_writes_the_same_bytes(
    llama: Path, built: dict[str, Path], tmp_path: Path
) -> None:
    convert(llama, Request("onnx", precision="int4"), tmp_path / "out", silent)
    first, second = tree(built["int4"]), tree(tmp_path / "out")
    for each in (first, second):  # it has the time and the output's path
        del each["conversion.json"]
    assert first.keys() == second.keys()
    assert [file for file in first if first[file] != second[file]] == []


def test_onnxruntime_genai_generates_from_it(llama: Path, built: dict[str, Path]) -> None:
    model = onnxruntime_genai.Model(str(built["fp32"]))
    options = onnxruntime_genai.GeneratorParams(model)
    options.set_search_options(do_sample=False, max_length=len(PROMPT) + NEW)
    generator = onnxruntime_genai.Generator(model, options)
    generator.append_tokens(PROMPT)
    wanted = greedy(llama)
    found = []
    while not generator.is_done():
        generator.generate_next_token()
        found.append(int(generator.get_next_tokens()[0]))
    assert found == wanted[: len(found)]
    assert found


def _turn_attention(graph: Any) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "rotary_interleaved":
                attribute.i = 1


def _swap_caches(graph: Any) -> None:
    """The graph still answers rightly in one pass."""
    swapped = {"present.0.value": "present.1.value", "present.1.value": "present.0.value"}
    for output in graph.output:
        output.name = swapped.get(output.name, output.name)
    for node in graph.node:
        for index, name in enumerate(node.output):
            node.output[index] = swapped.get(name, name)


def _stretch_positions(graph: Any) -> None:
    """Changes only positions beyond those that comparisons of texts reach."""
    for tensor in graph.initializer:
        if tensor.name == "cos_cache":
            table = numpy_helper.to_array(tensor).copy()
            table[300:] = table[:212]
            tensor.CopyFrom(numpy_helper.from_array(table, tensor.name))


def _double_a_scale(graph: Any) -> None:
    for tensor in graph.initializer:
        if tensor.name == "model.layers.1.mlp.down_proj.MatMul.weight_scales":
            values = numpy_helper.to_array(tensor) * 2
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


@pytest.mark.parametrize(
    ("precision", "change", "message"),
    [
        ("fp32", _turn_attention, "logits in one pass"),
        ("fp32", _swap_caches, "logits through the cache"),
        ("fp32", _stretch_positions, "rotary positions"),
        ("int4", _double_a_scale, "INT4 weight differs"),
        ("int4", _turn_attention, "differ"),
    ],
)
def test_a_wrong_graph_is_refused(
    llama: Path,
    built: dict[str, Path],
    tmp_path: Path,
    builder_writes: Any,
    precision: str,
    change: Any,
    message: str,
) -> None:
    builder_writes(built[precision], change)
    asked = Request("onnx", precision=precision)
    with pytest.raises(ConvertError, match=message):
        convert(llama, asked, tmp_path / "out", silent)
    assert list(tmp_path.iterdir()) == []
    forced = convert(llama, Request("onnx", True, precision=precision), tmp_path / "out", silent)
    assert not forced["passed"]
    assert [check for check in forced["parity"] if message in check["part"] or not check["passed"]]


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"architectures": ["GemmaForCausalLM"]}, "GemmaForCausalLM", "LlamaForCausalLM"),
        ({"quantization_config": {"quant_method": "awq"}}, "is quantized", "original weights"),
        (
            {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 8},
            "last 8 tokens",
            "vLLM",
        ),
        (
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
            "'linear' rotary positions",
            "vLLM",
        ),
    ],
)
def test_what_the_builder_gets_wrong_is_refused_first(
    llama: Path, tmp_path: Path, change: dict[str, Any], message: str, hint: str
) -> None:
    source = tmp_path / "source"
    shutil.copytree(llama, source)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ConvertError, match=message) as caught:
        convert(source, Request("onnx"), tmp_path / "out", silent)
    assert hint in (caught.value.hint or "")
    assert not (tmp_path / "out").exists()


def test_the_builder_s_last_words_are_told(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    shutil.copytree(llama, source)
    (source / "tokenizer.json").write_text("{}")
    with pytest.raises(ConvertError, match=r"builder failed: \w+"):
        convert(source, Request("onnx"), tmp_path / "out", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    with pytest.raises(MissingExtra, match="onnxruntime-genai"):
        raise decoder._failure(1, ["ModuleNotFoundError: No module named 'onnxruntime_genai'"])


def test_unknown_precisions_and_models_without_any(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="the precision 'int3' does not exist"):
        convert(llama, Request("onnx", precision="int3"), tmp_path / "out", silent)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text('{"architectures": ["BertModel"]}')
    with pytest.raises(ConvertError, match="is not a language model"):
        convert(tmp_path / "encoder", Request("onnx", precision="int4"), tmp_path / "out", silent)


def test_the_command_prints_the_record(
    llama: Path, built: dict[str, Path], tmp_path: Path, builder_writes: Any
) -> None:
    builder_writes(built["int4"])
    command = ["convert", str(llama), "--to", "onnx", "--precision", "int4", "--json"]
    ran = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    record = json.loads(ran.stdout)
    assert record["facts"]["precision"] == "int4"
    assert record["passed"]
    assert record == json.loads((tmp_path / "out" / "conversion.json").read_text())


def test_precision_goes_with_onnx_only(llama: Path, tmp_path: Path) -> None:
    command = ["convert", str(llama), "--to", "gguf", "--precision", "int4"]
    ran = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "out")])
    assert isinstance(ran.exception, ConvertError) or ran.exit_code == 1
    assert not (tmp_path / "out").exists()
