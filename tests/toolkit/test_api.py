"""`toolkit.build` and `toolkit.verify`, as docs/guides/python.md shows them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import toolkit
from toolkit.errors import RepositoryError, SpecError
from toolkit.finding import Severity

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "python.md"
MODELS = """
version: 1
models:
  own:
    kind: python
    source: path:own.py
    inputs: {x: {type: FP32, dims: [1]}}
    outputs: {y: {type: FP32, dims: [1]}}
"""
CODE = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.yaml").write_text(MODELS)
    (tmp_path / "own.py").write_text(CODE)
    return tmp_path


def test_the_guides_example_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    exec(compile(example, str(GUIDE), "exec"), {})  # noqa: S102
    assert capsys.readouterr().out == "models: own\n"
    assert (folder / "model_repository" / "own" / "1" / "model.py").read_text() == CODE


def test_findings_name_place_and_fix(folder: Path) -> None:
    built = toolkit.build(output=folder / "built")
    config = built.output / "own" / "config.pbtxt"
    config.write_text(config.read_text().replace("TYPE_FP32", "TYPE_FP33", 1))
    finding = toolkit.verify(built.output)[0]
    assert finding.severity is Severity.ERROR
    assert finding.place.line > 0
    assert finding.fix
    assert toolkit.verify is toolkit.__dict__["verify"]
    assert callable(toolkit.verify)  # no module of the same name takes its place


def test_errors_of_models_yaml_come_together(folder: Path) -> None:
    (folder / "models.yaml").write_text(MODELS.replace("FP32", "FP33"))
    with pytest.raises(SpecError) as refusal:
        toolkit.build()
    assert len(refusal.value.findings) == 2


def test_a_missing_repository_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="does not exist"):
        toolkit.verify(tmp_path / "none")


def test_importing_the_package_imports_nothing_else() -> None:
    check = (
        "import sys; import toolkit; "
        "sys.exit(any(name.startswith('toolkit.') or name == 'pydantic' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_importing_the_package_takes_no_time_in_which_ctrl_c_is_not_caught() -> None:
    program = (
        "import sys; before = set(sys.modules); import toolkit; print(set(sys.modules) - before)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "{'toolkit'}"
