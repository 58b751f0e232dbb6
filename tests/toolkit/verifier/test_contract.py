"""The toolkit's own models: parameters for the gateway, and what their steps need."""

import json
from pathlib import Path

import pytest

from tests.support.repository import echo_repository
from tests.toolkit.verifier.conftest import Repository
from tests.toolkit.verifier.corpus.dsl import Files, ensemble, python
from toolkit.targets import TARGETS
from toolkit.verifier import ModelFinding, verify_repository

_KIND = {"toolkit.contract": "1", "toolkit.kind": "llm", "toolkit.context_length": "4096"}


def _parameters(values: dict[str, str]) -> str:
    return "".join(
        f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}\n"
        for key, value in values.items()
    )


def _public(**changes: str) -> Files:
    values = {**_KIND, **{f"toolkit.{key}": value for key, value in changes.items()}}
    return ensemble("x:FP32:-1", "y:FP32:-1", "lib.f32 x=x > y=y", more=_parameters(values))


def _prompt(files: dict[str, str], **parameters: str) -> Files:
    beside = {"1/model.py": "class TritonPythonModel:\n    def execute(self, requests): ...\n"}
    beside |= {"1/python_backends/prompt/rendering.py": ""}
    return python(name="lib.f32", files={**beside, **files}, more=_parameters(parameters))


def _found(root: Path) -> list[ModelFinding]:
    return verify_repository(root, "embedded")


def test_the_echo_repository_is_clean(tmp_path: Path) -> None:
    echo_repository(tmp_path)
    assert _found(tmp_path) == []


def test_a_public_model_that_fits_is_clean(repository: Repository) -> None:
    assert _found(repository(_public(aliases='["a"]', capabilities='["chat"]'))) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("contract", "2"),
        ("kind", "chat"),
        ("aliases", "a, b"),
        ("aliases", "[1]"),
        ("capabilities", '["image"]'),
        ("context_length", "many"),
        ("context_length", "0"),
        ("max_text_bytes", "0"),
        ("cancel", "nobody"),
    ],
)
def test_a_parameter_that_the_gateway_cannot_read_is_told(
    repository: Repository, key: str, value: str
) -> None:
    (finding,) = _found(repository(_public(**{key: value})))
    assert (finding.code, finding.place.field) == (
        "toolkit-parameter",
        f"parameters[toolkit.{key}]",
    )
    assert finding.place.line


def test_a_step_needs_its_parameters_and_tokenizer(repository: Repository) -> None:
    rules = [finding.code for finding in _found(repository(_prompt({})))]
    assert sorted(rules) == ["toolkit-files", "toolkit-step"]


def test_a_malformed_parameter_is_told_with_its_line(repository: Repository) -> None:
    files = {"1/tokenizer/tokenizer.json": "{}"}
    (finding,) = _found(repository(_prompt(files, context_length="long")))
    assert finding.code == "toolkit-step"
    assert "long" in finding.place.text


def test_who_chats_needs_a_template(repository: Repository) -> None:
    step = _prompt({"1/tokenizer/tokenizer.json": "{}"}, context_length="4096")
    files = {**_public(capabilities='["chat"]'), **step}
    (finding,) = _found(repository(files))
    assert "chat template" in finding.text
    with_template = {"lib.f32/1/tokenizer/chat_template.jinja": "{{ messages }}"}
    assert _found(repository({**files, **with_template})) == []


def test_a_step_for_another_server_is_told_with_the_command(repository: Repository) -> None:
    root = repository(python(name="lib.f32", more=_parameters({"toolkit.target": "embedded"})))
    assert verify_repository(root, "embedded") == []
    (finding,) = [
        each for each in verify_repository(root, "container:25.08") if each.code == "toolkit-target"
    ]
    assert finding.fix == "run: toolkit build-repo --target container:25.08"


@pytest.mark.parametrize("target", TARGETS)
def test_an_engine_needs_a_server_that_has_it(repository: Repository, target: str) -> None:
    files = {
        "1/model.py": "class TritonPythonModel:\n    def execute(self, requests): ...\n",
        "1/python_backends/vllm_engine/engine.py": "",
    }
    root = repository(python(name="lib.f32", files=files))
    found = [p for p in verify_repository(root, target) if p.code == "engine"]
    assert bool(found) == (TARGETS[target].engine != "vllm")
    for finding in found:
        assert f"which {target} does not include" in finding.text
        assert f"container:{TARGETS[target].release}-vllm" in (finding.fix or "")


@pytest.mark.parametrize("target", [name for name, row in TARGETS.items() if row.vllm])
def test_engine_arguments_are_those_of_the_targets_vllm(
    repository: Repository, target: str
) -> None:
    arguments = {"model": "m", "max_num_seqs": 4, "max_nun_seqs": 4}
    files = {
        "1/model.py": "class TritonPythonModel:\n    def execute(self, requests): ...\n",
        "1/python_backends/vllm_engine/engine.py": "",
    }
    engine = _parameters({"engine": json.dumps(arguments)})
    root = repository(python(name="lib.f32", files=files, more=engine))
    found = [p for p in verify_repository(root, target) if p.code == "engine-argument"]
    assert [finding.fix for finding in found] == ["did you mean `max_num_seqs`?"]


def test_engine_arguments_of_tritons_own_backend(repository: Repository) -> None:
    files = {
        "own/config.pbtxt": 'backend: "vllm"\ninstance_group [{ kind: KIND_MODEL }]\n',
        "own/1/model.json": '{"model": "m", "gpu_memory_utilisation": 0.5}',
    }
    findings = verify_repository(repository(files), "container:26.08-vllm")
    (finding,) = [each for each in findings if each.code == "engine-argument"]
    assert finding.place.file.endswith("own/1/model.json")
    assert "gpu_memory_utilization" in finding.fix
    assert not [
        each
        for each in verify_repository(repository(files), "container:25.10-vllm")
        if each.code == "engine-argument"
    ]
