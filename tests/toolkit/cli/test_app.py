"""The command line: data on stdout, talk on stderr, one error format, exit codes."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import toolkit
from tests.support.checkpoint import save_spec
from tests.support.disks import run_on_small_disk
from toolkit.cli import app, main
from toolkit.cli.progress import console_progress

pytestmark = pytest.mark.usefixtures("own_home")
runner = CliRunner()


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Runs the installed command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["toolkit", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_version_and_help() -> None:
    assert runner.invoke(app, ["--version"]).stdout == f"toolkit {toolkit.__version__}\n"
    assert "build-repo" in runner.invoke(app, ["--help"]).stdout


def test_a_built_repository_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert call(monkeypatch, "build-repo", str(save_spec(tmp_path, "chat")), "-o", str(output)) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "chat: copy weights: done in" in said.err
    assert f"{output}: chat; built for embedded in" in said.err
    assert call(monkeypatch, "verify", str(output)) == 0


def test_a_dry_run_writes_and_fetches_nothing(tmp_path: Path, own_home: Path) -> None:
    spec, output = save_spec(tmp_path, "chat"), tmp_path / "out"
    result = runner.invoke(app, ["build-repo", str(spec), "-o", str(output), "--dry-run"])
    assert result.exit_code == 0
    assert "chat: llm (prompt → engine)" in result.stdout
    assert "chat\tdownload\tpath:weights\t" in result.stdout
    assert "chat\tconvert\tcheck and copy safetensors\tabout " in result.stdout
    assert "add\tchat.engine/\n" in result.stdout
    plan = runner.invoke(app, ["build-repo", str(spec), "--dry-run", "--json"])
    found = json.loads(plan.stdout)
    assert found["models"]["chat"]["steps"] == ["chat.prompt", "chat.engine"]
    assert [(step["step"], step["done"]) for step in found["steps"]] == [
        ("download", True),
        ("convert", False),
    ]
    assert not output.exists()
    assert not own_home.exists()


def test_json_tells_what_was_built(tmp_path: Path) -> None:
    spec = save_spec(tmp_path, "chat")
    result = runner.invoke(app, ["build-repo", str(spec), "-o", str(tmp_path / "out"), "--json"])
    told = json.loads(result.stdout)
    assert told["weights"]["chat"]["facts"]["context_length"] == 512
    assert told["weights"]["chat"]["digest"].startswith("sha256:")


def test_spec_errors_are_told_with_hints_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "models.yaml"
    spec.write_text("version: 1\nmodls: {}\n")
    assert call(monkeypatch, "build-repo", str(spec)) == 2
    assert capsys.readouterr().err == (
        f"error: {spec}:1: models: is missing\n"
        "  hint: add `models: …`\n"
        f"error: {spec}:2: modls: is not a known field\n"
        "  hint: did you mean `models`?\n"
    )


def test_other_errors_show_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = str(save_spec(tmp_path, "chat"))
    assert call(monkeypatch, "build-repo", spec, "--target", "moon") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: unknown target 'moon'\nhint: write embedded, container, ")
    assert call(monkeypatch, "--debug", "build-repo", spec, "--target", "moon") == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("own_home")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            "run m --set",
            2,
            "requires an argument\nhint: toolkit run --help\n",
        ),
        ("--moon", 2, "hint: toolkit --help\n"),
        ("stop m", 1, "hint: `toolkit serve` starts one\n"),
        ("models list", 1, "hint: `toolkit serve` starts one; or pass the address of any Triton: "),
        ("serve hf:", 2, "error: 'hf:' is not a Hub source\nhint: write hf:ORG/NAME or "),
        ("init /proc/x --yes", 1, "error: /proc/x: No such file or directory\n"),
    ],
)
def test_errors_name_what_was_typed_and_the_next_step(
    arguments: str,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, *arguments.split()) == code
    assert said in capsys.readouterr().err


def test_a_full_disk_names_the_destination(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "source", None, "destination")

    monkeypatch.setattr("toolkit.spec.schema.models_schema", fail)
    assert call(monkeypatch, "schema") == 1
    said = capsys.readouterr().err
    assert said.startswith("error: destination: No space left on device\nhint: free space there; ")


def test_a_repository_on_a_full_disk_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    disk, source = tmp_path / "disk", tmp_path / "own"
    for folder in (disk, source):
        folder.mkdir()
    code = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
    (source / "model.py").write_text(code)
    (source / "table.bin").write_bytes(bytes(1 << 20))
    tensor = "{type: FP32, dims: [1]}"
    (tmp_path / "models.yaml").write_text(
        "version: 1\nmodels:\n  own:\n    kind: python\n    source: path:own\n"
        f"    inputs: {{x: {tensor}}}\n    outputs: {{y: {tensor}}}\n"
    )
    program = [sys.executable, "-m", "toolkit", "build-repo", str(tmp_path / "models.yaml")]
    ran = run_on_small_disk(disk, [*program, "--output", str(disk / "repository")])
    assert (ran.returncode, ran.stdout) == (1, "")
    problem, hint = ran.stderr.splitlines()[-2:]
    assert problem.startswith(f"error: {disk}")
    assert problem.endswith("No space left on device")
    assert hint == "hint: free space there"  # the cache is on another disk


def test_a_service_whose_data_cannot_be_written_ends_before_it_loads(
    tmp_path: Path, echo_repository: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    program = [sys.executable, "-m", "toolkit", "serve", str(echo_repository)]
    ran = run_on_small_disk(
        disk, program, os.environ | {"TRITON_FRONTEND_DATA_DIRECTORY": str(disk / "data")}
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [
        f"error: setting 'data_directory': {disk / 'data'}: No space left on device",
        "hint: free space there, or set `data_directory` to a folder on another disk",
    ]


def test_the_command_starts_without_heavy_libraries() -> None:
    heavy = "{'torch', 'transformers', 'onnx', 'diffusers', 'huggingface_hub', 'fastapi'}"
    code = f"import sys, toolkit.cli; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found == "[]\n"


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_bars_on_a_terminal_and_lines_elsewhere() -> None:
    for terminal, expected in ((True, "50"), (False, "load: done in 0.0 s")):
        stream = Screen() if terminal else io.StringIO()
        with (
            console_progress(stream) as progress,
            progress.step("load", total=100, unit="files") as step,
        ):
            step.advance(50)
            step.note("half")
        assert "load" in stream.getvalue()
        assert expected in stream.getvalue() or terminal
        assert ("\x1b[" in stream.getvalue()) == terminal
