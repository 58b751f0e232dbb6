"""`quantization` in models.yaml: made while building, once, and never below the limits."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from toolkit.building import build, quantization
from toolkit.cli import app
from toolkit.convert.quiet import quiet
from toolkit.errors import BuildError, QualityError
from toolkit.progress import silent
from toolkit.quantize.job import Judging
from toolkit.quantize.limits import Limits
from toolkit.spec import load
from toolkit.targets import find_target


def built(folder: Path, progress: Any = silent) -> Path:
    build(load(folder / "models.yaml"), find_target("embedded"), folder / "out", progress)
    return folder / "out"


@pytest.mark.usefixtures("own_home")
def test_weights_are_quantized_once_and_refused_when_too_rough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.tiny_language import save_tiny_language  # with torch: seconds

    with quiet():
        save_tiny_language(tmp_path / "tiny")
    file = tmp_path / "models.yaml"
    entry = "version: 1\nmodels:\n  tiny: {kind: llm, source: path:tiny, context_length: 128, "
    file.write_text(f"{entry}quantization: int4}}\n")
    strict = Judging(Limits(max_kl=1e-9), passages=1, engine=False)
    with monkeypatch.context() as patched:
        patched.setattr(quantization, "Judging", lambda **_: strict)
        with pytest.raises(BuildError, match="'tiny' with `quantization: int4`") as caught:
            built(tmp_path)
    assert caught.value.exit_code == QualityError.exit_code
    assert "toolkit quantize path:tiny --int4-rtn" in (caught.value.findings[0].fix or "")
    assert not (tmp_path / "out").exists()

    mild = Judging(Limits(50, 20), passages=1, engine=False, title="tiny")
    monkeypatch.setattr(quantization, "Judging", lambda **_: mild)
    weights = built(tmp_path) / "tiny.engine" / "1" / "weights"
    about = json.loads((weights / "config.json").read_text())["quantization_config"]
    assert about["config_groups"]["group_0"]["weights"]["num_bits"] == 4
    assert not (weights / "quality").exists()
    config = (tmp_path / "out" / "tiny" / "config.pbtxt").read_text()
    assert "COMPRESSED-TENSORS" in config

    def fails(*_: Any) -> Any:
        raise AssertionError("it is kept: nothing is quantized again")

    monkeypatch.setattr(quantization, "quantize_language", fails)
    built(tmp_path)
    result = CliRunner().invoke(app, ["build-repo", str(file), "-o", str(tmp_path / "out")])
    line = next(each for each in result.stderr.splitlines() if each.startswith("tiny: int4-rtn, "))
    assert "MB, perplexity " in line
    report = Path(line.rpartition("; ")[2]).read_text()
    assert report.startswith("# tiny: int4-rtn")
    file.write_text(f"{entry.rstrip(', ')}}}\n")
    weights = built(tmp_path) / "tiny.engine" / "1" / "weights"
    assert "quantization_config" not in json.loads((weights / "config.json").read_text())
