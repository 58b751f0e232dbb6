"""Fields of entries: the rules of each, reported with line and fix."""

from pathlib import Path

import pytest

from toolkit.errors import SpecError
from toolkit.finding import Finding
from toolkit.kinds.llm.fields import LlmEntry
from toolkit.kinds.llm.template import problem_of
from toolkit.kinds.python import PythonEntry
from toolkit.kinds.rerank import RerankEntry
from toolkit.spec import parse
from toolkit.spec.overrides import changed, names_for
from toolkit.targets import TARGETS, find_target

HEAD = "version: 1\nmodels:\n  m:\n    kind: {kind}\n    source: hf:o/n\n"
EMBED = HEAD.format(kind="embedding")
LLM = HEAD.format(kind="llm") + "    context_length: 64\n"
OWN = (
    HEAD.format(kind="python")
    + "    inputs: {x: {type: FP32, dims: [-1]}}\n    outputs: {y: {type: STRING, dims: [1]}}\n"
)
JOIN = """version: 1
models:
  a:
    kind: embedding
    source: hf:o/n
  m:
    kind: ensemble
    inputs: {text: {type: STRING, dims: [1]}}
    outputs: {embedding: {type: FP32, dims: [8]}}
    steps:
      - {model: STEP, inputs: {text: text}, outputs: {embedding: embedding}}
"""


def findings(text: str, target: str | None = None) -> list[Finding]:
    try:
        spec = parse("models.yaml", text, Path())
        if target:
            spec.for_target(find_target(target))
    except SpecError as error:
        return error.findings
    raise AssertionError("nothing was found")


@pytest.mark.parametrize(
    ("text", "field", "problem", "hint"),
    [
        (
            LLM + "    response_cache: true\n",
            "response_cache",
            "not a field of kind `llm`",
            "stream",
        ),
        (LLM + "    engin_args: {}\n", "engin_args", "not a known field", "`engine_args`"),
        (LLM + "    engine: {dtype: float32}\n", "engine", "must be 'vllm'", None),
        (LLM + "    instances: 2\n", "instances", "an engine has one instance", "data_parallel"),
        (LLM + "    instances: {device: cpu}\n", "instances[0].device", "of its vLLM", None),
        (LLM + "    quantization: awk\n", "quantization", "must be 'awq'", "`awq`"),
        (
            LLM + "    chat_template: no.jinja\n",
            "chat_template",
            "no.jinja does not exist",
            "folder of",
        ),
        (
            LLM + "    engine_args: {enable_lora: true}\n",
            "engine_args.enable_lora",
            "set by",
            "adap",
        ),
        (LLM + "    fim: '{prefix}{suffix}'\n", "fim", "is not a layout", None),
        (LLM + "    adapters: {m: {source: hf:o/a}}\n", "adapters.m", "is taken by models.m", None),
        (
            LLM + "    adapters: {b: {source: path:none}}\n",
            "adapters.b.source",
            "none does not exist",
            None,
        ),
        (LLM + "    adapters: {b: {sorce: x, source: hf:o/n}}\n", "b.sorce", "known", "`source`"),
        (
            LLM + "    priority: true\n    engine_args: {scheduling_policy: fcfs}\n",
            "priority",
            "contradicts",
            None,
        ),
        (LLM + "    parts: {prompt: {batching: {}}}\n", "prompt.batching", "one request", None),
        (LLM + "    parts: {engine: {}}\n", "parts.engine", "must be 'prompt'", None),
        (EMBED + "    instances: {gpus: [0, 0]}\n", "instances[0].gpus", "different GPUs", None),
        (EMBED + "    instances: {device: cpu, gpus: [0]}\n", "gpus", "groups on GPUs", "device"),
        (EMBED + "    instances: {cont: 2}\n", "instances[0].cont", "not a known field", "`count`"),
        (EMBED + "    instances: two\n", "instances", "must be a list", None),
        (EMBED + "    batching: {max_delay: 5}\n", "batching.max_delay", "known", "max_delay_us"),
        (EMBED + "    priority: {levels: 2, default: 3}\n", "priority.default", "more than", None),
        (EMBED + "    warmup: {inputs: {text: {}}}\n", "warmup[0].inputs", "kind `python`", None),
        (EMBED + "    version_policy: {}\n", "version_policy", "has no field", "one of latest"),
        (EMBED + "    version_policy: {specific: [2]}\n", "specific", "version 1 only", "[1]"),
        (EMBED + "    revision: ../x\n", "revision", "is not a revision", "branch"),
        (EMBED.replace("o/n", "o/n@a") + "    revision: b\n", "revision", "already", None),
        (EMBED.replace("hf:o/n", "path:.") + "    revision: b\n", "revision", "only hf:", None),
        (EMBED + "    targets: {moon: {}}\n", "targets.moon", "is not a target", "container"),
        (EMBED + "    targets: {embedded: {kind: llm}}\n", "embedded.kind", "cannot differ", None),
        (
            EMBED + "    targets: {embedded: {stes: 1}}\n",
            "embedded.stes",
            "not a known field",
            None,
        ),
        (
            EMBED + "    targets: {embedded: {batching: {max_queue: -1}}}\n",
            "targets.embedded.batching.max_queue",
            "greater than or equal to 0",
            None,
        ),
        (OWN + "    batching: {}\n", "batching", "with a batch dimension", "max_batch_size"),
        (OWN + "    warmup: true\n", "warmup[0]", "needs its size", "dims"),
        (OWN + "    warmup: {inputs: {z: {}}}\n", "warmup[0].inputs.z", "not an input", "known: x"),
        (
            OWN + "    warmup: {inputs: {x: {text: a, dims: [1]}}}\n",
            "warmup[0].inputs.x.text",
            "FP32, not STRING",
            None,
        ),
        (OWN + "    packages: onx\n", "packages", "'onnx'", None),
        (OWN + "    packages: [numpy]\n", "packages[0]", "not a pinned", "NAME==VERSION"),
        (OWN + "    packages: ['-r evil==1']\n", "packages[0]", "not a pinned", "NAME==VERSION"),
        (OWN + "    parameters: {1a: 2}\n", "parameters.1a", "is not a valid name", None),
        (OWN + "    response_cache: true\n    decoupled: true\n", "response_cache", "decoup", None),
        (OWN.replace("[-1]", "[0]"), "inputs.x.dims", "not a shape", None),
        (OWN.replace("FP32", "FP31"), "inputs.x.type", "must be", "`FP32`"),
        (OWN.replace("dims: [-1]", "dim: [-1]"), "inputs.x.dim", "not a known field", "`dims`"),
        (
            OWN + "    contract: {kind: embedding, dimensions: 4, context_length: 9}\n",
            "inputs",
            "needs the input 'text'",
            "add text: {type: STRING, dims: [1]}",
        ),
        (OWN + "    contract: {kind: rerank}\n", "contract.context_length", "is missing", "add"),
        (OWN + "    contract: {kind: rerank}\n", "max_batch_size", "have a batch dim", "1 or more"),
        (OWN + "    contract: {kind: llm}\n", "decoupled", "is decoupled", "decoupled: true"),
        (OWN + "    contract: {kind: rerank}\n", "inputs.x", "not have this tensor", "optional"),
        (
            JOIN.replace("STEP", "b"),
            "steps[0].model",
            "there is no model 'b'",
            "known: a, a.tokenize",
        ),
        (JOIN.replace("STEP", "a.encode"), "steps[0].model", "there is no model", "`a.encoder`"),
        (JOIN.replace("STEP", "m"), "steps[0].model", "its own step", None),
        (
            JOIN.replace("STEP", "a") + "    source: hf:o/n\n",
            "source",
            "not a field of kind",
            "steps",
        ),
        (JOIN.replace("model: STEP", "mdel: a"), "steps[0].mdel", "not a known field", "`model`"),
    ],
)
def test_each_mistake_is_told_at_its_place(
    text: str, field: str, problem: str, hint: str | None
) -> None:
    told = findings(text)
    fits = [each for each in told if each.place.field.endswith(field) and problem in each.text]
    assert fits, [str(each) for each in told]
    assert hint is None or any(hint in (each.fix or "") for each in fits), fits
    lines = text.splitlines()
    assert all(1 <= each.place.line <= len(lines) for each in told)


def test_ensembles_that_contain_each_other_are_refused() -> None:
    text = JOIN.replace("STEP", "n") + JOIN[JOIN.index("  m:") :].replace("  m:", "  n:").replace(
        "STEP", "m"
    )
    assert any("contain each other: m → n → m" in each.text for each in findings(text))


def test_fields_and_entries_are_told_together() -> None:
    text = (
        LLM.replace("64", "few")
        + "    chat_template: gone.jinja\n    engine_args: {model: x}\n    sauce: 1\n"
    )
    assert [each.place.field.removeprefix("models.m.") for each in findings(text)] == [
        "context_length",
        "chat_template",
        "engine_args.model",
        "sauce",
    ]


def test_short_forms_mean_lists() -> None:
    spec = parse("models.yaml", EMBED + "    instances: 3\n    warmup: true\n", Path())
    entry = spec.models["m"]
    assert not isinstance(entry, PythonEntry | LlmEntry | RerankEntry)
    assert [group.count for group in entry.instances or ()] == [3]  # type: ignore[union-attr]
    assert len(entry.warmup) == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("target", [name for name, row in TARGETS.items() if row.engine == "vllm"])
def test_unknown_engine_arguments_are_refused_for_every_target(target: str) -> None:
    told = findings(LLM + "    engine_args:\n      max_num_seq: 4\n      seed: 1\n", target)
    assert [(each.place.line, each.place.field) for each in told] == [
        (8, "models.m.engine_args.max_num_seq")
    ]
    assert told[0].fix == "did you mean `max_num_seqs`?"
    assert find_target(target).vllm in told[0].text


def test_functions_of_modules_that_an_environment_does_not_have_are_refused() -> None:
    passes = "compilation_config: {inductor_passes: {a: nosuch.run, b: torch.relu, c: math.sqrt}}"
    (told,) = findings(LLM + f"    engine_args: {{{passes}}}\n", "embedded")
    assert told.place.field.endswith("engine_args.compilation_config.inductor_passes.a")
    assert "the environment of vLLM has no module 'nosuch'" in told.text
    # an image may have other modules
    parse("models.yaml", LLM + f"    engine_args: {{{passes}}}\n", Path()).for_target(
        find_target("container:26.08-vllm")
    )


def test_engine_arguments_have_types() -> None:
    told = findings(LLM + "    engine_args: {max_num_seqs: many, enforce_eager: 1}\n", "embedded")
    assert {each.place.field.rpartition(".")[2] for each in told} == {
        "max_num_seqs",
        "enforce_eager",
    }


def test_an_argument_may_exist_on_one_target_only() -> None:
    new = find_target("container:26.08-vllm").engine_arguments
    old = find_target("container:25.08-vllm").engine_arguments
    name = min(name for name in new if name not in old and new[name] == "bool")
    text = LLM + f"    targets: {{'container:26.08': {{engine_args: {{{name}: true}}}}}}\n"
    spec = parse("models.yaml", text, Path())
    assert isinstance(spec.for_target(find_target("container:25.08-vllm"))["m"], LlmEntry)
    entry = spec.for_target(find_target("container:26.08-vllm"))["m"]
    assert isinstance(entry, LlmEntry)
    assert list(entry.engine_args) == [name]


def test_a_targets_mistake_is_told_where_the_target_says_it() -> None:
    text = LLM + "    engine_args: {seed: 1}\n    targets:\n      embedded:\n"
    told = findings(text + "        engine_args: {sed: 1}\n", "embedded")
    assert [(each.place.line, each.place.field) for each in told] == [
        (10, "models.m.targets.embedded.engine_args.sed")
    ]


def test_gpus_are_for_targets_that_have_some() -> None:
    text = EMBED + "    instances: {gpus: [0]}\n"
    assert "has no GPUs" in findings(text, "embedded")[0].text
    parse("models.yaml", text, Path()).for_target(find_target("container"))


def test_changes_are_merged_key_by_key() -> None:
    raw = {
        "a": {"x": 1, "y": 2},
        "b": [1],
        "targets": {"container": {"a": {"y": 3}, "b": [2]}, "container:26.08": {"a": {"z": 4}}},
    }
    merged, origins = changed(raw, names_for("container:26.08-vllm"))
    assert merged == {"a": {"x": 1, "y": 3, "z": 4}, "b": [2]}
    assert origins[("a", "z")] == ("targets", "container:26.08", "a", "z")
    assert raw["a"] == {"x": 1, "y": 2}


def test_parsers_are_those_of_the_targets_vllm() -> None:
    told = findings(LLM + "    tool_parser: hermess\n    reasoning_parser: qwen33\n", "embedded")
    assert {each.place.field.rpartition(".")[2]: each.fix for each in told} == {
        "tool_parser": "did you mean `hermes`?",
        "reasoning_parser": "did you mean `qwen3`?",
    }


def test_values_that_the_engine_refuses_together_are_told() -> None:
    told = findings(LLM + "    engine_args: {max_num_batched_tokens: 8}\n", "embedded")
    assert ["less than max_num_seqs (16)" in each.text for each in told] == [True]
    told = findings(
        LLM + "    engine_args: {structured_outputs_config: {backend: auto}}\n", "embedded"
    )
    assert [each.place.field.rpartition(".")[2] for each in told] == ["backend"]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{% for m in messages %}{{ m.content }}", "Unexpected end of template"),
        ("{{ messages[0].content | foo }}", "No filter named 'foo'"),
        ("{{ messages[0].content.x.y }}", "cannot render one user message"),
        ("Hello", "without the user's message"),
        ("{%- generation -%}{{ messages[0].content }}{% endgeneration %}{{ bos_token }}", None),
    ],
)
def test_a_chat_template_is_rendered_once(
    tmp_path: Path, template: str, problem: str | None
) -> None:
    path = tmp_path / "chat.jinja"
    path.write_text(template)
    found = problem_of(path)
    assert found is None if problem is None else problem in (found or "")
