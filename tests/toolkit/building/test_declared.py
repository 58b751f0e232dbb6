"""Errors in what users declare are reported with their lines before anything is written."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.checkpoint import save_spec
from tests.support.client import request_of, tensors_of
from tests.support.triton import serving
from toolkit.building import build
from toolkit.errors import BuildError, SpecError
from toolkit.finding import Finding
from toolkit.runtime import environments
from toolkit.runtime.environments import link_environments
from toolkit.spec import load
from toolkit.targets import find_target

MODEL = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
OWN = """
  {name}:
    kind: python
    source: path:model.py
    inputs: {{x: {{type: FP32, dims: [4]}}}}
    outputs: {{y: {{type: FP32, dims: [4]}}}}
    max_batch_size: 8
"""
JOIN = """
  both:
    kind: ensemble
    inputs: {x: {type: FP32, dims: [4]}}
    outputs: {y: {type: FP32, dims: [4]}}
    max_batch_size: 8
    steps:
      - {model: first, inputs: {x: x}, outputs: {y: between}}
      - {model: second, inputs: {x: between}, outputs: {y: y}}
"""


def written(folder: Path, models: str) -> Path:
    file = folder / "models.yaml"
    file.write_text(f"version: 1\nmodels:{models}")
    return file


def built(folder: Path, models: str) -> Path:
    output = folder / "out"
    build(load(written(folder, models)), find_target("embedded"), output)
    return output


def refused(folder: Path, models: str) -> list[Finding]:
    with pytest.raises(SpecError) as caught:
        built(folder, models)
    assert not (folder / "out").exists()
    return caught.value.findings


@pytest.fixture
def folder(tmp_path: Path, own_home: Path) -> Path:
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


FIRST, SECOND = OWN.format(name="first"), OWN.format(name="second")


def test_an_ensemble_that_fits_is_built(folder: Path) -> None:
    output = built(folder, FIRST + SECOND + JOIN)
    assert {path.name for path in output.iterdir()} == {
        "both",
        "first",
        "second",
        "repository.json",
    }


@pytest.mark.parametrize(
    ("models", "field", "words"),
    [
        (
            FIRST + SECOND.replace("x: {type: FP32", "x: {type: FP16") + JOIN,
            "models.both.steps[1].inputs",
            "FP16",
        ),
        (FIRST + SECOND.replace("[4]", "[5]", 1) + JOIN, "models.both.steps[1].inputs", "5"),
        (
            FIRST + SECOND + JOIN.replace("{x: between}", "{z: between}"),
            "models.both.steps[1].inputs",
            "z",
        ),
        (
            FIRST + SECOND + JOIN.replace("outputs: {y: between}", "outputs: {y: elsewhere}"),
            "models.both.steps",
            "elsewhere",
        ),
        (FIRST + SECOND + JOIN.replace("size: 8", "size: 16"), "models.both", "16"),
    ],
)
def test_joins_that_do_not_fit_are_told_at_their_step(
    folder: Path, models: str, field: str, words: str
) -> None:
    told = refused(folder, models)
    fits = [each for each in told if each.place.field.startswith(field) and words in str(each)]
    assert fits, [str(each) for each in told]
    text = written(folder, models).read_text().splitlines()
    assert all(text[each.place.line - 1].strip() for each in told)
    assert fits[0].fix


@pytest.mark.parametrize(
    ("right", "swapped", "fix"),
    [
        ("{x: between}", "{between: x}", "write `x: between`"),
        ("{y: between}", "{between: y}", "write `y: between`"),
    ],
)
def test_swapped_maps_are_one_error_with_a_fix_for_models_yaml(
    folder: Path, right: str, swapped: str, fix: str
) -> None:
    (found,) = refused(folder, FIRST + SECOND + JOIN.replace(right, swapped))
    assert "key and value are swapped" in found.text
    assert found.fix == fix


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("class Model: ...\n", "class TritonPythonModel"),
        ("def broken(:\n", "invalid Python"),
        (MODEL.replace("execute", "exekute"), "execute"),
    ],
)
def test_a_model_that_triton_could_not_run_is_told(folder: Path, code: str, words: str) -> None:
    (folder / "model.py").write_text(code)
    told = refused(folder, FIRST)
    assert any(words in str(each) and "model.py" in str(each) for each in told), told


def test_a_source_without_a_model_is_refused(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(BuildError, match=r"has no model\.py"):
        built(folder, FIRST.replace("model.py", "empty"))
    (folder / "notes.txt").write_text("x")
    with pytest.raises(BuildError, match="is not a Python file"):
        built(folder, FIRST.replace("model.py", "notes.txt"))


def test_links_out_of_a_source_are_refused(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "model.py").write_text(MODEL)
    (folder / "mine" / "secret").symlink_to("/etc/hostname")
    with pytest.raises(BuildError, match="link to a path outside the folder"):
        built(folder, FIRST.replace("model.py", "mine"))


def test_files_beside_a_model_come_along_and_caches_do_not(folder: Path) -> None:
    for name in ("model.py", "words.txt", "helper/__init__.py", "__pycache__/x.pyc", ".env"):
        path = folder / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MODEL if name == "model.py" else "")
    output = built(folder, FIRST.replace("model.py", "mine"))
    version = output / "first" / "1"
    found = {str(path.relative_to(version)) for path in version.rglob("*") if path.is_file()}
    assert found == {"model.py", "words.txt", "helper/__init__.py"}


def test_a_template_with_a_mistake_is_told_with_its_line(folder: Path) -> None:
    file = save_spec(folder, "chat")
    (folder / "t.jinja").write_text("{{ a }}\n{% for %}\n")
    file.write_text(file.read_text() + "    chat_template: t.jinja\n")
    with pytest.raises(SpecError, match=r"t\.jinja:2"):
        load(file)


DISTANCE = """
import numpy as np
import triton_python_backend_utils as pb_utils
from jellyfish import levenshtein_distance


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            words = pb_utils.get_input_tensor_by_name(request, "words").as_numpy()
            found = levenshtein_distance(words[0].decode(), words[1].decode())
            tensor = pb_utils.Tensor("distance", np.array([found], dtype=np.int32))
            answers.append(pb_utils.InferenceResponse([tensor]))
        return answers
"""


def test_a_model_brings_its_own_packages(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(DISTANCE)
    output = built(
        tmp_path,
        """
  words:
    kind: python
    source: path:words.py
    inputs: {words: {type: STRING, dims: [2]}}
    outputs: {distance: {type: INT32, dims: [1]}}
    packages: [jellyfish==1.2.1]
""",
    )
    assert (output / "words" / "requirements.txt").read_text() == "jellyfish==1.2.1\n"
    (environment,) = link_environments(output)
    assert (output / ".environments" / environments.own_name(["jellyfish==1.2.1"])).is_symlink()
    version = subprocess.run(
        [environment / "bin" / "python", "-c", "import numpy; print(numpy.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.stdout.startswith("1.")
    with serving(output, tmp_path / "log", ["words"]) as server:
        request = request_of("words", {"words": np.array([b"kitten", b"sitting"], np.object_)})
        found = tensors_of(server.api.ModelInfer(request, timeout=30))
    assert found["distance"].tolist() == [3]
    assert sys.version_info[:2] == (3, 11)
