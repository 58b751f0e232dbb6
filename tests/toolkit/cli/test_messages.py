"""What wrong input is answered with: the value, what is wrong with it, and what to do instead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkpoint import save_spec
from tests.support.processes import ROOT

FAMILY = "did you mean smollm2-135m-instruct or smollm2-360m-instruct or smollm2-1.7b-instruct?"
MESSAGES: list[tuple[list[str], str, str]] = [
    (["serve", "smolm2"], "'smolm2' is neither a file nor a known model", FAMILY),
    (["run", "smolm2", "hello"], "'smolm2' is neither a file nor a known model", FAMILY),
    (["pull", "smolm2"], "'smolm2' is not a source", FAMILY),
    (["convert", "smolm2", "--to", "onnx"], "the file or model 'smolm2'", FAMILY),
    (["quantize", "smolm2", "--awq"], "the file or model 'smolm2'", FAMILY),
    (["pull", "gguf:/gone.gguf"], "error: /gone.gguf does not exist\n", "check the path"),
    (["convertt", "x"], "error: no such command 'convertt'\n", "did you mean 'convert'?"),
    (["cache", "lst"], "error: no such command 'lst'\n", "did you mean 'list'?"),
    (["run", "--tempp", "1", "m"], "no such option: --tempp", "did you mean --set temperature=…?"),
    (["run", "m", "--top-p", "1"], "no such option: --top-p", "did you mean --set top_p=…?"),
    (["run", "m", "--sytem", "x"], "no such option: --sytem", "did you mean --system?"),
    (["ps", "--jsn"], "error: no such option: --jsn\n", "did you mean --json?"),
    (["convert", "x", "--to", "ggu"], "--to ggu is not valid", "did you mean 'gguf'?"),
    (["fit", "--target", "contaner"], "unknown target 'contaner'", "did you mean 'container'?"),
    (["pull", "./gone.gguf"], "'./gone.gguf' is not a source", "did you mean gguf:./gone.gguf?"),
    (["pull", "package:a==x/y"], "'x' in 'package:a==x/y' is not a version", "package:a==1.2.3/"),
    (["pull"], "models.yaml: cannot be read: No such file", "create one with `toolkit init`"),
    (["serve", "spec.yaml"], "spec.yaml is not a model", "toolkit build-repo "),
    (["run", "page.safetensors", "x"], "page.safetensors is not a .gguf file", "name a .gguf file"),
    (["verify", "spec.yaml"], "spec.yaml is a file, not a folder", "one folder per model"),
    (["serve", ""], "an argument is empty", "a shell variable"),
    (["pull", "a\nb"], "'a\\nb' is not a source", "write package:"),
    (["run", "a\x1b[31m", "x"], "'a\\x1b[31m' is neither a file nor", "list-available"),
    (["verify", ".", "--target", "embeded"], "target 'embeded'", "did you mean 'embedded'?"),
    (["build-repo", "--target", "container:26.08-vlm"], "unknown", "'container:26.08-vllm'?"),
    (
        ["fit", "spec.yaml", "--gpus", "h1000"],
        "the GPU 'h1000' is not known",
        "did you mean h100? Or",
    ),
    (["fit", "spec.yaml", "--memory", "64"], "'64' is not a valid size", "write it as 64GiB"),
    (["fit", "--concurrency", "1.5"], "'--concurrency': '1.5' is not a whole number", "fit --help"),
    (["fit", "--concurrency", "-2"], "'-2' is below the minimum of 1", "fit --help"),
    (["doctor", "--port", "70000"], "'70000' is above the maximum of 65535", "doctor --help"),
    (["stop", "--timeout-s", "soon"], "'soon' is not a number", "stop --help"),
    (["init", "--context-length", f"{10**20}"], "is above the maximum of 100000000", "init --help"),
    (["completion"], "Choose from: bash, zsh, fish", "toolkit completion --help"),
    (["models", "list", "--triton", "moon"], "'moon' is not HOST:PORT", "models list --help"),
    (["models", "list", "--triton", "http://a:1"], "'http://a:1' is not HOST:PORT", "list --help"),
    (["serve", "--triton-traces-url", "collector:4318"], "'collector:4318'", "http://"),
    (
        ["serve", "--frontend-only", "--triton", "a:1", "--triton-traces-url", "http://a"],
        "cannot be combined",
        "traces.md",
    ),
    (["serve", "--frontend-only", "--triton", "a:99999"], "'99999' in 'a:99999'", "serve --help"),
    (["run", "m", "--url", "moon", "x"], "--url 'moon' is not the address", "http://HOST:PORT"),
    (["logs", "--since", "5"], "--since '5' is not a time", "for example 10m"),
]


@pytest.fixture
def folder(own_home: Path, tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    inside.mkdir()
    save_spec(inside, "chat").rename(inside / "spec.yaml")
    (inside / "page.safetensors").write_text("<html>")
    (inside / "page.gguf").write_text("<html>")
    return inside


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Runs the command as a shell does: its exit code, and what it wrote to stderr."""
    ran = subprocess.run(
        [sys.executable, "-m", "toolkit", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == ""
    return ran.returncode, ran.stderr


@pytest.mark.parametrize(
    ("arguments", "message", "hint"), MESSAGES, ids=lambda each: ascii(" ".join(each))[:40]
)
def test_wrong_use_names_the_value_and_the_remedy(
    arguments: list[str], message: str, hint: str, folder: Path
) -> None:
    code, said = run(folder, *arguments)
    assert code == 2, said
    error, _, advice = said.partition("hint: ")
    assert message in error
    assert hint in advice


def test_a_file_that_only_has_the_name_of_a_model_is_refused(folder: Path) -> None:
    for command in (["serve", "page.gguf"], ["run", "page.gguf", "x"], ["pull", "gguf:page.gguf"]):
        code, said = run(folder, *command)
        assert code == 1
        assert "page.gguf is not a GGUF file: it does not begin with 'GGUF'\nhint: " in said


@pytest.mark.parametrize("name", ["page.gguf", "page.safetensors"])
def test_a_local_web_page_is_not_weights(folder: Path, name: str) -> None:
    (folder / name).write_text("\n<!DOCTYPE html><title>Sign in</title>")
    code, said = run(folder, "pull", f"path:{name}")
    assert code == 1
    assert f"{name} is a web page, not a weights file\nhint: download it again" in said
