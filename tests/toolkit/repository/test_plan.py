"""The plan of a models.yaml, and the configs that it becomes."""

import json
from pathlib import Path

import pytest

from toolkit.errors import ConvertError, UsageError
from toolkit.facts import Facts
from toolkit.kinds.diffusion import DiffusionFacts
from toolkit.kinds.embedding import EmbeddingFacts
from toolkit.kinds.llm.facts import LlmFacts
from toolkit.repository.configs import model_configs
from toolkit.repository.plan import make_plan
from toolkit.spec import Spec, parse
from toolkit.targets import TARGETS, find_target

TEXT = """
version: 1
models:
  chat: {kind: llm, source: "hf:o/n", context_length: 100, engine_args: {dtype: float32}}
  embed: {kind: embedding, source: "hf:o/n", created: 5, matryoshka: [2, 1]}
  draw: {kind: diffusion, source: "hf:o/n", steps: 7, max_size: 64}
"""
FACTS: dict[str, Facts] = {
    "chat": LlmFacts(context_length=200, chat=False, cache_bytes_per_token=100),
    "embed": EmbeddingFacts(dimensions=3, context_length=50),
    "draw": DiffusionFacts(
        size=32,
        scale=8,
        multiple_of=16,
        latent_channels=4,
        tokens=77,
        width=64,
        latent_scaling=0.5,
        latent_shift=0.0,
    ),
}


@pytest.fixture
def spec() -> Spec:
    return parse("models.yaml", TEXT, Path())


def test_plans_steps_and_files_without_looking_anywhere(spec: Spec) -> None:
    plan = make_plan(spec.models, find_target("embedded"))
    chat, embed, draw = plan.models
    assert [step.backend for step in chat.steps] == ["prompt", "vllm_engine"]
    assert [step.name for step in embed.steps] == ["embed.tokenize", "embed.encoder"]
    assert "embed.encoder/1/model.onnx" in embed.files
    assert "draw.denoise/1/scheduler/" in draw.files
    assert "chat.engine/1/python_backends/vllm_engine/engine.py" in chat.files
    assert plan.summary() == make_plan(spec.models, find_target("embedded")).summary()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FACTS)
def test_only_the_embedded_target_names_environments(spec: Spec, target: str, name: str) -> None:
    entry = spec.models[name]
    ensemble, *steps = model_configs(name, entry, FACTS[name], "sha256:0", find_target(target))
    paths = [step.parameters["EXECUTION_ENV_PATH"].string_value for step in steps]
    starts = "$$TRITON_MODEL_DIRECTORY/../.environments/" if target == "embedded" else ""
    assert all(path.startswith(starts) and bool(path) == bool(starts) for path in paths)
    assert ensemble.platform == "ensemble"
    assert [step.model_name for step in ensemble.ensemble_scheduling.step] == [
        step.name for step in steps
    ]


def test_public_parameters(spec: Spec) -> None:
    told = {}
    for name, facts in FACTS.items():
        configs = model_configs(name, spec.models[name], facts, "sha256:0", find_target("embedded"))
        told[name] = {
            key.removeprefix("toolkit."): value.string_value
            for key, value in configs[0].parameters.items()
        }
    assert told["chat"]["capabilities"] == '["completion"]'
    assert told["chat"]["cancel"] == "chat.engine"
    assert told["chat"]["context_length"] == "100"
    assert told["embed"]["dimensions"] == "3"
    assert told["embed"]["matryoshka"] == "[1, 2]"
    assert told["embed"]["context_length"] == "50"
    assert told["embed"]["created"] == "5"
    assert told["draw"]["image"] == (
        '{"width": 32, "height": 32, "multiple_of": 16, "max_size": 64, "steps": 7,'
        ' "max_steps": 100, "guidance": 7.5, "max_count": 4}'
    )


def test_engine_arguments_are_passed_on(spec: Spec) -> None:
    configs = model_configs("chat", spec.models["chat"], FACTS["chat"], "", find_target("embedded"))
    engine = json.loads(configs[2].parameters["engine"].string_value)
    assert engine["model"] == "weights"
    assert engine["max_model_len"] == 100
    assert engine["dtype"] == "float32"
    assert configs[0].model_transaction_policy.decoupled
    assert configs[2].model_transaction_policy.decoupled
    assert not configs[1].model_transaction_policy.decoupled


def test_a_context_beyond_the_weights_is_refused(spec: Spec) -> None:
    with pytest.raises(ConvertError, match="100 exceeds the model") as caught:
        model_configs(
            "chat",
            spec.models["chat"],
            LlmFacts(context_length=64, chat=True, cache_bytes_per_token=100),
            "",
            find_target("embedded"),
        )
    assert caught.value.hint == "set context_length to 64 or less"


def test_vectors_are_not_cut_to_more_than_they_have(spec: Spec) -> None:
    facts = EmbeddingFacts(dimensions=2, context_length=50)
    with pytest.raises(ConvertError, match="2 must be less than the 2 numbers"):
        model_configs("embed", spec.models["embed"], facts, "", find_target("embedded"))


def test_unknown_targets_are_refused() -> None:
    assert find_target("container").name == "container:26.08-vllm"
    with pytest.raises(UsageError, match="unknown target 'moon'"):
        find_target("moon")


def test_a_cpu_engine_gets_a_cache_that_fits_beside_others(spec: Spec) -> None:
    facts = FACTS["chat"]
    entry = spec.models["chat"]
    for target in ("embedded", "container"):
        config = model_configs("chat", entry, facts, "", find_target(target))[2]
        arguments = json.loads(config.parameters["engine"].string_value)
        assert arguments == {"model": "weights", "max_model_len": 100, "dtype": "float32"}
        assert ("engine_cpu" in config.parameters) == (target == "embedded")
        if target == "embedded":
            on_cpu = json.loads(config.parameters["engine_cpu"].string_value)
            assert on_cpu["kv_cache_memory_bytes"] == 16 * 256 * 100 * 2
