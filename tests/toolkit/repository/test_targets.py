"""What each target makes of the same models.yaml, checked by `toolkit verify` for that target."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from tests.support.checkpoint import save_checkpoint
from toolkit.building import build
from toolkit.engine_arguments import collected
from toolkit.engine_arguments.collect import from_environment, read_sources
from toolkit.errors import SpecError, UsageError
from toolkit.repository.pbtxt import read
from toolkit.runtime.environments import ensure_environment
from toolkit.spec import load
from toolkit.targets import TARGETS, find_target
from toolkit.verifier import verify_repository
from toolkit.verifier.releases import find_server as verify_target

WITH_VLLM = [name for name, target in TARGETS.items() if target.engine == "vllm"]
JOINED = [name for name in WITH_VLLM if TARGETS[name].native_onnx]
SEPARATE = [name for name in WITH_VLLM if name.endswith("-vllm")]
MODELS = """
version: 1
models:
  chat:
    kind: llm
    source: path:chat
    context_length: 128
    engine_args: {max_num_seqs: 4}
    chat_template: chat.jinja
    tool_parser: hermes
    reasoning_parser: qwen3
    fim: <a>{prefix}<b>{suffix}<c>
    priority: true
    grammars: {compile_s: 2.5, processes: 8}
    targets:
      container: {instances: {gpus: [2, 3]}, engine_args: {tensor_parallel_size: 2}}
  judge:
    kind: rerank
    source: path:judge
    targets:
      container: {instances: [{count: 2, gpus: [0, 1]}], batching: {max_batch_size: 16}}
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a models.yaml, its weights, and a toolkit home that keeps conversions."""
    from tests.support.tiny_models import save_cross_encoder  # with torch: seconds

    folder = tmp_path_factory.mktemp("sources")
    save_checkpoint(folder / "chat", chat=False)
    save_cross_encoder(folder / "judge")
    (folder / "chat.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    (folder / "models.yaml").write_text(MODELS)
    return folder


@pytest.fixture
def shared_home(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(sources / "home"))


def built(sources: Path, folder: Path, target: str) -> dict[str, ModelConfig]:
    output = folder / "repository"
    build(load(sources / "models.yaml"), find_target(target), output)
    assert not verify_repository(output, verify_target(target, gpus=4 if "con" in target else 0))
    return {path.parent.name: read(path) for path in output.glob("*/config.pbtxt")}


@pytest.mark.usefixtures("shared_home")
@pytest.mark.parametrize("target", JOINED)
def test_images_with_onnxruntime_run_graphs_themselves(
    sources: Path, tmp_path: Path, target: str
) -> None:
    configs = built(sources, tmp_path, target)
    encoder = configs["judge.encoder"]
    assert (encoder.backend, encoder.max_batch_size) == ("onnxruntime", 16)
    assert {tensor.name for tensor in encoder.input} == {
        "input_ids",
        "attention_mask",
        "token_type_ids",
    }
    assert not any(tensor.allow_ragged_batch for tensor in encoder.input)
    assert [list(tensor.dims) for tensor in encoder.output] == [[1]]
    (group,) = encoder.instance_group
    assert (group.kind, group.count, list(group.gpus)) == (ModelInstanceGroup.KIND_GPU, 2, [0, 1])
    assert encoder.HasField("dynamic_batching")
    version = tmp_path / "repository" / "judge.encoder" / "1"
    assert [path.name for path in version.iterdir()] == ["model.onnx"]
    assert configs["judge.tokenize"].parameters["pad_to_multiple"].string_value == "32"
    assert not any("EXECUTION_ENV_PATH" in config.parameters for config in configs.values())


@pytest.mark.usefixtures("shared_home")
@pytest.mark.parametrize("target", SEPARATE)
def test_the_vllm_images_run_graphs_in_our_encoder(
    sources: Path, tmp_path: Path, target: str
) -> None:
    encoder = built(sources, tmp_path, target)["judge.encoder"]
    assert (encoder.backend, encoder.max_batch_size) == ("python", 16)
    (group,) = encoder.instance_group
    assert (group.kind, list(group.gpus)) == (ModelInstanceGroup.KIND_GPU, [0, 1])


def test_each_image_has_the_backends_that_nvidia_lists() -> None:
    for name, target in TARGETS.items():
        assert "python" in target.backends
        if name.endswith("-vllm"):
            assert target.backends == {"python", "vllm"}
        if name.endswith("-trtllm"):
            assert target.backends == {"python", "tensorrtllm"}
        if (target.image or "").endswith("-py3") and target.engine is None:
            assert "onnxruntime" in target.backends
            assert not target.backends & {"vllm", "tensorrtllm"}
        if name != "embedded":
            built = str(target.image).split(":")[-1].removesuffix("-python-py3")
            assert target.image is None or built.removesuffix("-py3") == name.split(":")[1]


@pytest.mark.parametrize(
    ("target", "remedy"),
    [
        ("container:26.08", "container:26.08-vllm"),
        ("container:26.07-trtllm", "container:26.07-vllm"),
    ],
)
def test_a_language_model_needs_an_image_with_its_engine(
    sources: Path, target: str, remedy: str
) -> None:
    with pytest.raises(SpecError) as refused:
        load(sources / "models.yaml").for_target(find_target(target))
    (finding,) = refused.value.findings
    assert (finding.place.field, finding.fix) == (
        "models.chat.engine",
        f"build for --target {remedy}",
    )
    assert "has no vLLM" in finding.text


def test_a_release_without_a_tensorrt_llm_image_is_refused() -> None:
    with pytest.raises(UsageError, match=r"TensorRT-LLM image for the release 26\.08") as refused:
        find_target("container:26.08-trtllm")
    assert refused.value.hint == "use container:26.07-trtllm"


@pytest.mark.usefixtures("shared_home")
def test_an_engine_on_gpus(sources: Path, tmp_path: Path) -> None:
    configs = built(sources, tmp_path, "container:26.08-vllm")
    engine = configs["chat.engine"]
    assert engine.instance_group[0].kind == ModelInstanceGroup.KIND_MODEL
    told = {key: value.string_value for key, value in engine.parameters.items()}
    assert json.loads(told["environment"]) == {"CUDA_VISIBLE_DEVICES": "2,3"}
    arguments = json.loads(told["engine"])
    assert arguments == {
        "model": "weights",
        "max_model_len": 128,
        "max_num_seqs": 4,
        "tensor_parallel_size": 2,
        "scheduling_policy": "priority",
    }
    assert told["toolkit.tool_parser"] == "hermes"
    assert told["toolkit.reasoning_parser"] == "qwen3"
    assert told["toolkit.target"] == "container:26.08-vllm"
    assert (told["grammar_compile_s"], told["grammar_processes"]) == ("2.5", "8")
    assert "grammar_bytes" not in told, "the engine has its own default"


@pytest.mark.usefixtures("shared_home")
def test_the_embedded_target_batches_ragged_requests_in_our_encoder(
    sources: Path, tmp_path: Path
) -> None:
    configs = built(sources, tmp_path, "embedded")
    encoder = configs["judge.encoder"]
    assert encoder.backend == "python"
    assert all(tensor.allow_ragged_batch for tensor in encoder.input)
    assert encoder.parameters["output"].string_value == "score"
    public = {k: v.string_value for k, v in configs["chat"].parameters.items()}
    assert json.loads(public["toolkit.capabilities"]) == [
        "chat",
        "completion",
        "tools",
        "reasoning",
        "infill",
    ]
    prompt = configs["chat.prompt"].parameters["toolkit.fim"].string_value
    assert json.loads(prompt) == "<a>{prefix}<b>{suffix}<c>"
    template = tmp_path / "repository/chat.prompt/1/tokenizer/chat_template.jinja"
    assert template.read_text() == (sources / "chat.jinja").read_text()


def test_every_target_knows_its_engines_arguments() -> None:
    targets = [target for target in TARGETS.values() if target.engine == "vllm"]
    assert {target.vllm for target in targets} == set(collected())
    for target in targets:
        assert {"model", "dtype", "max_model_len", "enable_lora"} <= set(target.engine_arguments)
        assert target.vllm_note


def test_the_installed_engine_has_the_arguments_of_the_table() -> None:
    environment = ensure_environment("vllm")
    version, _, sources = from_environment(environment)
    assert version == find_target("embedded").vllm
    known = json.loads(
        files("toolkit.engine_arguments").joinpath(f"vllm-{version}.json").read_text()
    )
    assert read_sources(sources) == {
        key: value for key, value in known.items() if key not in {"vllm", "read_from"}
    }


@pytest.mark.parametrize(
    "name",
    ["container:24.10", "container:2508", "moon", "embedded:24.10", "container:26.08-sglang"],
)
def test_targets_that_are_not_in_the_table_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="unknown target"):
        find_target(name)


TENSORRT = """
version: 1
models:
  chat:
    kind: llm
    engine: tensorrt-llm
    source: path:chat
    context_length: 128
    chat_template: chat.jinja
    engine_args: {tensor_parallel_size: 2, kv_cache_config: {free_gpu_memory_fraction: 0.8}}
"""
TRTLLM = [name for name, target in TARGETS.items() if target.engine == "tensorrt-llm"]


@pytest.mark.usefixtures("shared_home")
@pytest.mark.parametrize("target", TRTLLM)
def test_tensorrt_llm_is_nvidias_model_behind_the_contract(
    sources: Path, tmp_path: Path, target: str
) -> None:
    (sources / "trt.yaml").write_text(TENSORRT)
    output = tmp_path / "repository"
    build(load(sources / "trt.yaml"), find_target(target), output)
    assert not verify_repository(output, verify_target(target, gpus=2))
    configs = {path.parent.name: read(path) for path in output.glob("*/config.pbtxt")}
    assert configs.keys() == {"chat", "chat.prompt", "chat.engine", "chat.tensorrt_llm"}
    assert {each.name for each in configs["chat.engine"].input} >= {"token_ids", "cancel"}
    public = {k: v.string_value for k, v in configs["chat"].parameters.items()}
    assert json.loads(public["toolkit.capabilities"]) == ["chat", "completion"]
    assert public["toolkit.cancel"] == "chat.engine"
    version = output / "chat.tensorrt_llm" / "1"
    settings = YAML(typ="safe").load(version / "model.yaml")
    assert settings["model"] == "weights"
    assert (version / "weights" / "config.json").exists()
    assert settings["max_seq_len"] == 128
    assert settings["tensor_parallel_size"] == 2
    assert settings["kv_cache_config"] == {"free_gpu_memory_fraction": 0.8}
    assert settings["triton_config"] == {"max_batch_size": 0, "decoupled": True}
    assert (output / "chat.engine" / "1" / "tokenizer" / "tokenizer_config.json").exists()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("embedded", "TensorRT-LLM only runs on NVIDIA GPUs"),
        ("container:26.08-vllm", "has no TensorRT-LLM"),
        ("container:26.08", "has no TensorRT-LLM"),
    ],
)
def test_tensorrt_llm_is_refused_where_it_cannot_run(
    sources: Path, target: str, reason: str
) -> None:
    (sources / "trt.yaml").write_text(TENSORRT)
    with pytest.raises(SpecError, match=reason) as refused:
        load(sources / "trt.yaml").for_target(find_target(target))
    assert refused.value.findings[0].fix == "build for --target container:26.07-trtllm"


def test_what_tensorrt_llm_does_not_do_is_refused(sources: Path) -> None:
    more = "    priority: true\n    quantization: awq\n    tool_parser: hermes\n"
    (sources / "trt.yaml").write_text(TENSORRT + more)
    with pytest.raises(SpecError) as refused:
        load(sources / "trt.yaml")
    fields = {finding.place.field for finding in refused.value.findings}
    assert fields == {f"models.chat.{name}" for name in ("priority", "quantization", "tool_parser")}
