"""What a command imports: its own modules, and no heavy library that it does not use."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.checkpoint import save_spec
from tests.support.processes import ROOT
from toolkit.cli.app import command
from toolkit.cli.commands import COMMANDS

SHARED = {"app", "commands", "interrupt", "output", "streams"}
HEAVY = {"torch", "transformers", "onnx", "onnxruntime", "diffusers", "huggingface_hub", "gguf"}
HEAVY |= {"fastapi", "starlette", "frontend", "python_backends", "numpy", "grpc", "tritonclient"}
LISTING = HEAVY | {"pydantic", "google", "ruamel", "rich", "jinja2", "psutil"}
_LIST_MODULES = """
import atexit, sys
atexit.register(lambda: print("modules:", *sys.modules, file=sys.stderr))
from toolkit.cli import main
main()
"""


@cache
def imported(*arguments: str, completes: bool = False) -> frozenset[str]:
    """The modules that `toolkit ARGUMENTS` imports, or the completion of its last argument."""
    argv = [sys.executable, "-c", _LIST_MODULES]
    ran = subprocess.run(
        argv if completes else [*argv, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | (completing(*arguments) if completes else {}),
    )
    return frozenset(ran.stderr.rpartition("modules: ")[2].split())


def completing(*arguments: str) -> dict[str, str]:
    """What bash sets when it completes the last argument."""
    words = {"COMP_WORDS": " ".join(("toolkit", *arguments)), "COMP_CWORD": str(len(arguments))}
    return {"_TOOLKIT_COMPLETE": "complete_bash", **words}


def completed(*arguments: str, cwd: Path | None = None) -> list[str]:
    """The values that bash is offered for the last argument."""
    argv = [sys.executable, "-m", "toolkit"]
    environment = os.environ | completing(*arguments)
    ran = subprocess.run(argv, capture_output=True, text=True, cwd=cwd, env=environment, check=True)
    return ran.stdout.split()


def packages(modules: frozenset[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def commands(modules: frozenset[str]) -> set[str]:
    return {name.split(".")[2] for name in modules if name.startswith("toolkit.cli.")}


def test_the_version_needs_no_command() -> None:
    found = imported("--version")
    assert not packages(found) & LISTING
    assert {name for name in found if name.startswith("toolkit")} == {
        "toolkit", "toolkit.cli", "toolkit.cli.app", "toolkit.cli.commands",
        "toolkit.cli.interrupt", "toolkit.cli.output", "toolkit.cli.streams", "toolkit.errors",
        "toolkit.finding",
    }  # fmt: skip


def test_the_list_of_commands_needs_no_command() -> None:
    found = imported("--help")
    assert not packages(found) & (LISTING - {"rich"})
    assert commands(found) == SHARED


def test_verify_reads_a_repository_with_protobuf_alone(tmp_path: Path) -> None:
    spec, output = save_spec(tmp_path, "chat"), tmp_path / "out"
    argv = [sys.executable, "-m", "toolkit", "build-repo", str(spec), "-o", str(output)]
    subprocess.run(argv, check=True, capture_output=True)
    found = imported("verify", str(output))
    assert "toolkit.verifier.rules" in found
    assert not packages(found) & (HEAVY | {"rich", "ruamel", "jinja2"})
    assert commands(found) == SHARED | {"complete", "options", "verify"}
    assert not {name for name in found if name.startswith(("toolkit.serve", "toolkit.building"))}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_no_other(name: str) -> None:
    found = commands(imported(name, "--help"))
    modules = {each.module for each in COMMANDS.values()} - {COMMANDS[name].module}
    assert COMMANDS[name].module in found
    assert not found & modules


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(name: str) -> None:
    help_text = command().commands[name].help or ""
    assert help_text.partition("\n\n")[0].replace("\n", " ").strip() == COMMANDS[name].help


COMPLETED = {
    ("build-repo", "--target", "container:26.08"): "container:26.08-vllm",
    ("fit", "--target", "emb"): "embedded",
    ("doctor", "--target", "con"): "container",
    ("verify", "--target", "emb"): "embedded",
    ("convert", "x", "--to", "o"): "onnx",
    ("convert", "x", "--type", "Q8"): "Q8_0",
    ("quantize", "x", "--method", "aw"): "awq",
    ("serve", "--device", "c"): "cuda",
    ("completion", "f"): "fish",
    ("stop", "smol"): "smollm2-135m-instruct",
    ("logs", "smol"): "smollm2-135m-instruct",
    ("models", "unload", "smol"): "smollm2-135m-instruct",
    ("models", "status", "smol"): "smollm2-135m-instruct",
    ("mod",): "models",
}


@pytest.mark.parametrize("arguments", COMPLETED, ids=" ".join)
def test_a_shell_completes_values(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path))
    assert COMPLETED[arguments] in completed(*arguments, cwd=ROOT)
    found = imported(*arguments, completes=True)
    assert not packages(found) & (
        HEAVY | {"pydantic", "rich", "ruamel", "jinja2", "psutil", "google"}
    )


def test_models_of_running_services_are_completed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path / "home"))
    model = tmp_path / "repository" / "chat"
    model.mkdir(parents=True)
    (model / "config.pbtxt").write_text('parameters { key: "toolkit.kind" }')
    running = tmp_path / "home" / "running"
    running.mkdir(parents=True)
    record = {"pid": os.getpid(), "repository": str(model.parent)}
    (running / "9000.json").write_text(json.dumps(record))
    (running / "9001.json").write_text("not JSON")
    assert completed("stop", "") == ["chat"]
