"""Every command, walked: help, JSON, exit codes, errors, colours, width; a new one, too."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoint import save_spec
from tests.support.processes import ROOT
from toolkit.cli import app as commands
from toolkit.cli.app import command, main
from toolkit.home import home
from toolkit.weights.digest import digest

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3|4|9)\d(?:;\d+)*m")
PRINTS_NO_RESULT = {("init",), ("schema",), ("serve",), ("stop",), ("logs",), ("completion",)}
BAD: dict[tuple[str, ...], list[list[str]]] = {
    ("init",): [["--llm", "moon:x", "new.yaml"], ["/proc/none/models.yaml", "--yes"]],
    ("schema",): [["extra"]],
    ("build-repo",): [["gone.yaml"], ["."], ["bad.yaml"], ["--target", "moon"], ["bytes.yaml"]],
    ("verify",): [["gone"], ["models.yaml"], [".", "--target", "moon"], ["--gpus", "-1"]],
    ("prepare",): [["--environment", "moon"]],
    ("serve",): [["gone"], ["--port", "0"], ["--frontend-only"], ["--triton", "a:1"]],
    ("run",): [
        ["gone.gguf", "hello"],
        ["gone-model", "hello"],
        ["m", "--port", "1", "hello"],
        ["m", "--url", "http://127.0.0.1:1", "hello"],
        ["m", "--set", "temperature=9", "hello"],
    ],
    ("stop",): [["--port", "1"], ["--all", "--port", "1"], ["m", "--kill"], ["m", "--port", "1"]],
    ("doctor",): [["--target", "moon"], ["--port", "x"]],
    ("fit",): [["gone.yaml"], ["--gpus", "moon"], ["--memory", "much"], ["--concurrency", "0"]],
    ("ps",): [["--bad"]],
    ("logs",): [["--port", "1"], ["--since", "soon"]],
    ("list-available",): [["--kind", "moon"], ["--gpus", "moon"], ["--memory", "much"]],
    ("pull", "list-available"): [["--models", "gone.yaml"], ["--models", "bad.yaml"]],
    ("pull", "download"): [["moon:x"], ["--only", "none"], ["--models", "bad.yaml"]],
    ("pull", "check"): [["--models", "gone.yaml"]],
    ("models", "list"): [["--port", "1"], ["--triton", "127.0.0.1:1"], ["--key", "x"]],
    ("models", "status"): [["m", "--port", "1"], []],
    ("models", "versions"): [["m", "--triton", "127.0.0.1:1"]],
    ("models", "load"): [["m", "--port", "1"], ["m", "--version", "0"]],
    ("models", "unload"): [["m", "--port", "1"]],
    ("models", "reload"): [["m", "--port", "1"]],
    ("models", "canary"): [["m", "--promote"], ["m", "--port", "1", "--request", "gone.json"]],
    ("quantize",): [["gone", "--awq"], ["weights"]],
    ("convert",): [["gone", "--to", "onnx"], ["weights", "--to", "moon"]],
    ("completion",): [["tcsh"], []],
    ("cache", "list"): [["--models", "gone.yaml"], ["--models", "bad.yaml"]],
    ("cache", "prune"): [["--older-than", "soon"], ["--kind", "moon"]],
}


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(node, "commands", {})
    for name, child in children.items():
        yield from leaves(child, (*path, name))
    if not children:
        yield path, node


LEAVES = dict(leaves(command()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save_spec(tmp_path, "chat")
    config = tmp_path / "weights" / "config.json"
    sizes = {"vocab_size": 64, "intermediate_size": 32, "model_type": "llama"}
    config.write_text(json.dumps(json.loads(config.read_text()) | sizes))
    (tmp_path / "bad.yaml").write_text("version: 1\nmodels: {a: {kind: llm, sorce: x}}\n")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["toolkit", *arguments])
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_every_command_is_walked() -> None:
    assert set(BAD) == set(LEAVES)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_help_has_an_example_and_fits(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *path, "--help") == 0
    text = capsys.readouterr().out
    assert "Example" in text
    text = re.sub(r"\n +", "\n ", text)
    assert f"\n toolkit {' '.join(path)}".removesuffix(" download") in text
    assert max(map(len, text.splitlines())) <= 80
    assert "<bool>" not in text
    assert "…│" not in text  # nothing is cut
    assert all(option.help for option in LEAVES[path].params)


@pytest.mark.parametrize("path", sorted(LEAVES.keys() - PRINTS_NO_RESULT), ids=" ".join)
def test_results_come_as_json_too(path: tuple[str, ...]) -> None:
    assert any("--json" in option.opts for option in LEAVES[path].params)


@pytest.mark.usefixtures("own_home", "folder")
@pytest.mark.parametrize(
    ("path", "arguments"),
    [(path, each) for path, calls in BAD.items() for each in [*calls, ["--no-such-option"]]],
    ids=lambda words: " ".join(words)[:40],
)
def test_bad_input_is_told_in_the_one_format(
    path: tuple[str, ...],
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = call(monkeypatch, *path, *arguments)
    said = capsys.readouterr()
    assert code in {1, 2}
    assert said.out == ""
    assert re.search(r"^error: .+", said.err, re.MULTILINE)
    assert re.search(r"^ *hint: .+", said.err, re.MULTILINE)
    assert "Traceback" not in said.err
    assert "Value error" not in said.err
    assert "a bug in the toolkit" not in said.err


def test_a_missing_file_of_weights_is_a_wrong_use(
    own_home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (("serve",), ("convert",), ("quantize",), ("verify",)):
        right = {"convert": ["--to", "gguf"], "quantize": ["--awq"]}.get(path[0], [])
        assert call(monkeypatch, *path, "gone.gguf", *right) == 2, path


def test_the_hint_for_logs_names_the_latest_ports(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = home() / "logs"
    for port in range(9001, 9041):
        (logs / str(port)).mkdir(parents=True)
        os.utime(logs / str(port), (port, port))
    assert call(monkeypatch, "logs", "--port", "1") == 1
    shown = ", ".join(str(port) for port in range(9040, 9030, -1))
    assert f"hint: there are logs of: {shown} and 30 more\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["pull", "hf:org/none"],
        ["convert", "hf:org/none", "--to", "onnx"],
        ["quantize", "hf:org/none", "--awq"],
    ],
    ids=lambda words: words[0],
)
def test_a_hub_that_cannot_be_reached_is_named(arguments: list[str], tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "toolkit", *arguments],
        env=os.environ
        | {"HF_ENDPOINT": "http://127.0.0.1:9", "TRITON_TOOLKIT_HOME": str(tmp_path)}
        | {"HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr
    assert "hf:org/none cannot be downloaded: " in ran.stderr
    assert "hint: check the name, the network, and HF_TOKEN" in ran.stderr


WRONG = ["gone/x", "empty", "bytes.yaml", "", "-1", "1e99", "x" * 5000, "hf:a", "\udcff", "a b"]
"""Given to every option that takes a value: none may be a fault of the toolkit."""
STARTS = {("serve",), ("prepare",), ("run",), ("stop",), ("logs",), ("ps",), ("init",)}
"""They start, stop or write something when a value happens to be right."""
RIGHT: dict[tuple[str, ...], list[str]] = {
    ("build-repo",): ["--dry-run", "--offline"],
    ("verify",): ["."],
    ("fit",): ["--offline"],
    ("cache", "prune"): ["--dry-run"],
    ("quantize",): ["weights", "--awq"],
    ("convert",): ["weights", "--to", "safetensors"],
}


@pytest.mark.usefixtures("own_home", "folder")
@pytest.mark.parametrize("path", sorted(LEAVES.keys() - STARTS), ids=" ".join)
def test_no_value_of_an_option_is_a_bug(
    path: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    right = RIGHT.get(path, ["m", "--port", "1"] if path[0] == "models" else [])
    for option in LEAVES[path].params:
        if getattr(option, "is_flag", False):
            continue
        for value in WRONG:
            named = option.opts[0].startswith("-")
            own = right if named or not right or right[0].startswith("-") else right[1:]
            words = [*own, option.opts[0], value] if named else [*own, "--", value]
            code = call(monkeypatch, *path, *words)
            said = capsys.readouterr().err
            assert code in {0, 1, 2}, (words, said)
            assert "Traceback" not in said, words
            assert code != 2 or re.search("^ *hint: .+", said, re.MULTILINE), (words, said)


def test_a_bug_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise KeyError("lost")

    monkeypatch.setattr("toolkit.spec.schema.models_schema", fail)
    assert call(monkeypatch, "schema") == 70
    said = capsys.readouterr().err
    assert said.startswith("error: this is a bug in the toolkit: KeyError: 'lost'\nhint: ")
    assert call(monkeypatch, "--debug", "schema") == 70
    assert "Traceback" in capsys.readouterr().err


def on_terminal(*arguments: str, **extra: str) -> tuple[str, str]:
    """Runs with a terminal for both streams, 80 columns wide; what it wrote, and its stdout."""
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "80", **extra}
    with subprocess.Popen(
        [sys.executable, "-m", "toolkit", *arguments],
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env=environment,
    ) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            text += piece
    os.close(ours)
    return text.decode(), str(process.returncode)


def test_no_color_is_honoured_on_a_terminal() -> None:
    for arguments in (["doctor"], ["build-repo", "gone.yaml"], ["fit", "--offline", "--help"]):
        coloured, _ = on_terminal(*arguments)
        plain, _ = on_terminal(*arguments, NO_COLOR="1")
        assert COLOUR.search(coloured), arguments
        assert not COLOUR.search(plain), arguments


@pytest.mark.usefixtures("own_home")
def test_the_plan_is_whole_at_80_columns(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a-model-with-a-rather-long-name"
    text = (folder / "models.yaml").read_text()
    (folder / "models.yaml").write_text(text.replace("  chat:", f"  {name}:"))
    assert call(monkeypatch, "fit", "--gpus", "h100:2") == 0
    table = capsys.readouterr().out
    assert "…" not in table
    assert f"{name}: " in table
    assert "GPU 0" in table


@pytest.mark.usefixtures("own_home", "folder")
def test_progress_is_drawn_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "fit", "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["fits"] is True
    assert "\x1b" not in said.err
    assert "\r" not in said.err


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    code = f"{sys.executable} -m toolkit schema | head -c 10"
    ran = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert ran.stderr == ""
    assert len(ran.stdout) == 10


def test_help_is_a_word_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, option in (["help"], ["--help"]), (["help", "fit"], ["fit", "--help"]):
        assert call(monkeypatch, *words) == call(monkeypatch, *option) == 0
        text = capsys.readouterr().out
        assert text[: len(text) // 2] == text[len(text) // 2 :]


def test_the_completion_script_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "completion", "bash") == 0
    assert "_TOOLKIT_COMPLETE=complete_bash" in capsys.readouterr().out


def test_completion_knows_the_commands() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "toolkit"],
        env=os.environ
        | {"_TOOLKIT_COMPLETE": "complete_bash", "COMP_WORDS": "toolkit mod", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ran.stdout.split() == ["models"], ran.stderr
    assert commands.info.name == "toolkit"


def run_in_shell(folder: Path, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    settings = {"TRITON_TOOLKIT_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m toolkit {command}'],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )


@pytest.mark.parametrize("command", ["schema", "list-available", "fit gone.yaml", "--help"])
def test_a_terminal_without_unicode_gets_escapes(command: str, tmp_path: Path) -> None:
    ran = run_in_shell(tmp_path, command, PYTHONIOENCODING="ascii", COLUMNS="20")
    assert ran.returncode == (2 if "gone" in command else 0), ran.stderr
    assert "a bug in the toolkit" not in ran.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_bug(closed: str, tmp_path: Path) -> None:
    assert run_in_shell(tmp_path, f"list-available {closed}").returncode == 0
    ran = run_in_shell(tmp_path, f"run gone {closed}")
    assert ran.returncode in {1, 2}
    assert "a bug in the toolkit" not in ran.stderr


def test_a_yaml_file_that_is_nested_too_deeply_is_named(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text(f"a: {'[' * 5000}")
    ran = run_in_shell(tmp_path, "fit deep.yaml")
    assert ran.returncode == 2
    assert "error: deep.yaml:1: lists and mappings are nested too deeply" in ran.stderr


@pytest.mark.parametrize("command", ["convert SOURCE --to onnx", "quantize SOURCE --awq"])
def test_folders_without_a_model_are_refused_before_they_are_read(
    command: str, tmp_path: Path
) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).touch()
    for source, code, message in (
        (".", 1, "does not contain weights or the settings"),
        ("''", 2, "an argument is empty"),
    ):
        ran = run_in_shell(tmp_path, command.replace("SOURCE", source))
        assert (ran.returncode, message in ran.stderr) == (code, True), ran.stderr


def test_names_of_files_are_bytes_in_digests(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.json")).touch()
    assert digest(tmp_path).startswith("sha256:")
