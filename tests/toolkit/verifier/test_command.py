"""`toolkit verify` as a command: what it prints where, and how it exits."""

import json
import subprocess
import sys
from pathlib import Path

from tests.toolkit.verifier.conftest import Repository
from tests.toolkit.verifier.corpus.dsl import ENVIRONMENT, edit, python


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "toolkit", "verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_clean_repository_exits_0_and_prints_nothing(repository: Repository) -> None:
    done = _run(repository(python()))
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing to report" in done.stderr


def test_an_error_shows_its_line_with_carets_and_the_way_out(repository: Repository) -> None:
    done = _run(repository(python("x:FP32:3,0")))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "error[tensor-dims]: tensor 'x' has a dimension of 0"
    assert lines[1].strip().endswith("config.pbtxt:7:13  (input[0].dims[1])")
    assert lines[3] == "7 |   dims: [ 3,0 ]"
    assert lines[4].index("^") == lines[3].index("0 ]")
    assert "refuses to load" in lines[5]
    assert "\x1b" not in done.stdout


def test_warnings_fail_only_when_strict(repository: Repository) -> None:
    root = repository(edit(python(), ENVIRONMENT, ""))
    assert _run(root).returncode == 0
    assert _run(root, "--strict").returncode == 1


def test_json_is_one_document(repository: Repository) -> None:
    done = _run(repository(python("x:FP32:0")), "--json", "--target", "container")
    document = json.loads(done.stdout)
    assert (done.returncode, document["errors"]) == (1, 1)
    (finding,) = document["findings"]
    assert (finding["code"], finding["line"], finding["model"]) == ("tensor-dims", 7, "model")


def test_wrong_use_exits_2(repository: Repository, tmp_path: Path) -> None:
    assert _run(tmp_path / "absent").returncode == 2
    root = repository(python())
    unknown = _run(root, "--target", "nonesuch")
    assert unknown.returncode == 2
    assert "container" in unknown.stderr
    one = _run(root / "model")
    assert one.returncode == 2
    assert str(root) in one.stderr


def test_fix_says_what_it_changed(repository: Repository) -> None:
    done = _run(repository(edit(python(), 'name: "@"', 'name: "other"')), "--fix")
    assert done.returncode == 0
    assert 'changed "other" to "model"' in done.stderr


def test_the_target_is_guessed_from_the_backends(repository: Repository) -> None:
    files = edit(python(), 'backend: "python"', 'backend: "tensorrt"')
    root = repository({**files, "@/1/model.plan": "x"})
    assert "container:" in _run(root).stderr


def test_the_number_of_gpus_is_taken_into_account(repository: Repository) -> None:
    root = repository(python(more="instance_group { kind: KIND_GPU gpus: [ 0, 3 ] }\n"))
    container = (root, "--target", "container")
    assert _run(*container).returncode == 0
    assert _run(*container, "--gpus", "4").returncode == 0
    assert "GPU 3 does not exist" in _run(*container, "--gpus", "2").stdout
    assert "no GPU" in _run(root, "--target", "embedded").stdout
