"""Configs as people write them for a container's backends: what loads, what is refused, what helps.

The embedded server has none of these backends, so the corpus cannot hold them.
"""

import pytest

from tests.toolkit.verifier.conftest import Repository
from tests.toolkit.verifier.corpus.dsl import Files, edit, ensemble, python, tensors
from toolkit.verifier import ModelFinding, Severity, verify_repository

_IO = tensors("input", "x:FP32:4") + tensors("output", "y:FP32:4")
_TARGET = "container:25.08"


def _model(head: str, file: str = "model.plan", io: str = _IO) -> Files:
    return {"@/config.pbtxt": f"{head}\n{io}", f"@/1/{file}": "x"}


def _found(repository: Repository, files: Files) -> list[ModelFinding]:
    return verify_repository(repository(files), _TARGET)


@pytest.mark.parametrize(
    "files",
    [
        _model('backend: "tensorrt" platform: "tensorrt_plan"'),
        _model('backend: "pytorch" runtime: "model.py"', "model.py"),
        _model('backend: "pytorch" runtime: "model.py"', "model.pt"),
        _model('backend: "dali"', "dali.py"),
        _model('backend: "dali" default_model_filename: "model.dali"', "dali.py"),
        _model('backend: "dali" max_batch_size: 8', "dali.py", 'input { name: "x" }'),
        _model('backend: "tensorrt"', io='output { name: "y" dims: [ 4 ] }'),
        python(environment=False, more='platform: "pytorch"\n'),
    ],
)
def test_what_loads_is_not_reported(repository: Repository, files: Files) -> None:
    assert _found(repository, files) == []


def test_a_backend_may_be_the_models_last_name(repository: Repository) -> None:
    files = {"model.dali/config.pbtxt": "max_batch_size: 8\n", "model.dali/1/dali.py": ""}
    assert _found(repository, files) == []


@pytest.mark.parametrize(
    ("head", "rule", "fix"),
    [
        ('backend: "tensorrt" platform: "onnxruntime_onnx"', "platform-pair", "remove"),
        ('backend: "tensorrt" platform: "trt"', "platform-pair", "remove"),
        ('backend: "pytorch" platform: "pytorch"', "platform-pair", "remove"),
        ('backend: "onnx"', "backend", "onnxruntime"),
        ('backend: "tensorrt_plan"', "backend", "'tensorrt'"),
        ('backend: "pytorch_libtorch"', "backend", "'pytorch'"),
        ('backend: "Python"', "backend", "python"),
        ('platform: "onnxruntime"', "backend", 'backend: "onnxruntime"'),
        ('platform: "python"', "backend", 'backend: "python"'),
        ('platform: "tensorflow_savedmodel"', "backend", "--target"),
    ],
)
def test_what_runs_the_model_must_be_named_right(
    repository: Repository, head: str, rule: str, fix: str
) -> None:
    errors = [p for p in _found(repository, _model(head)) if p.severity == Severity.ERROR]
    assert (rule, True) in [(finding.code, fix in finding.fix) for finding in errors]


@pytest.mark.parametrize(
    ("target", "backend", "remedy"),
    [
        ("container:26.08-vllm", "onnxruntime", "container:26.08, container:26.08-vllm-onnx"),
        ("container:26.08-vllm", "tensorrt", "container:26.08"),
        ("container:26.07-trtllm", "pytorch", "container:26.07"),
        ("container:26.08", "vllm", "container:26.08-vllm, container:26.08-vllm-onnx"),
        ("container:26.07", "tensorrtllm", "container:26.07-trtllm"),
    ],
)
def test_a_backend_that_the_image_lacks_is_reported(
    repository: Repository, target: str, backend: str, remedy: str
) -> None:
    files = _model(f'backend: "{backend}"', "model.onnx")
    (finding,) = [p for p in verify_repository(repository(files), target) if p.code == "backend"]
    assert finding.severity == Severity.ERROR
    assert f"the target {target} has no backend '{backend}'" in finding.text
    assert finding.fix == f"use a target that has it: {remedy}"


def test_a_templates_parameter_is_the_backends_business(repository: Repository) -> None:
    parameter = 'parameters { key: "a" value { string_value: "${a}" } }\n'
    files = python(environment=False, more=parameter)
    (found,) = _found(repository, files)
    assert (found.code, found.severity) == ("placeholder", Severity.WARNING)
    rules = {p.code for p in _found(repository, edit(files, '"python"', "python"))}
    assert rules == {"placeholder", "syntax"}
    rules = {p.code for p in _found(repository, edit(files, "size: 0", "size: ${b}"))}
    assert rules == {"placeholder"}


@pytest.mark.parametrize(
    ("old", "new", "fix"),
    [
        ("dims: [ -1 ]", "shape: [ 1, 2, 3 ]", "'dims'"),
        ("input {", "inputs [ { } ]\ninput {", "'input'"),
        ("data_type", "dtype", "'data_type'"),
    ],
)
def test_an_unknown_field_is_told_once_at_its_name(
    repository: Repository, old: str, new: str, fix: str
) -> None:
    files = python("x:FP32:-1", "z:INT8:7,8", environment=False)
    config = files["@/config.pbtxt"].replace(old, new, 1)
    found = _found(repository, {**files, "@/config.pbtxt": config})
    (unknown,) = [finding for finding in found if finding.code == "unknown-field"]
    assert fix in unknown.fix
    place = unknown.place
    name = place.text[place.column - 1 : place.column - 1 + place.length]
    assert name == new.partition(":")[0].split()[0]


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("max_batch_size = 4", "colon"),
        ('platform "x"', "colon"),
        ("name: “model”", "straight quotes"),
        ("max_batch_size:", "write the value"),
    ],
)
def test_a_slip_of_the_pen_is_explained(repository: Repository, line: str, fix: str) -> None:
    files = {"@/config.pbtxt": f'{line}\nbackend: "python"\n', "@/1/model.py": ""}
    (found,) = _found(repository, files)
    assert found.code == "syntax"
    assert fix in found.fix


def test_a_missing_model_is_not_taken_for_another_step(repository: Repository) -> None:
    steps = ("preprocess x=x > y=t", "postprocess x=t > y=y")
    files = {
        **ensemble("x:FP32:-1", "y:FP32:-1", *steps, name="pipeline"),
        **python(name="preprocess", environment=False),
    }
    (found,) = _found(repository, files)
    assert found.code == "ensemble-model"
    assert "add the model 'postprocess'" in found.fix


def test_a_tensor_without_a_type_is_reported_where_it_is_declared(repository: Repository) -> None:
    broken = python(name="one", environment=False)
    config = broken["one/config.pbtxt"].replace("  data_type: TYPE_FP32\n", "")
    files = {
        **broken,
        "one/config.pbtxt": config,
        **ensemble("x:FP32:-1", "y:FP32:-1", "one x=x > y=y", name="pipeline"),
    }
    assert {(p.model, p.code) for p in _found(repository, files)} == {("one", "tensor-type")}
