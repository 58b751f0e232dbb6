"""Environments are complete or absent, linked where configs look, and unusable bases are named."""

import os
import re
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from toolkit.errors import SetupError, SourceError, UsageError
from toolkit.machine import local
from toolkit.progress import silent
from toolkit.runtime import environments
from toolkit.runtime.environments import NAMES, ensure_environment, link_environments
from toolkit.wheels import run_pip


@pytest.fixture
def no_install(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces the package installation; the list tells which environments it was asked for."""
    asked: list[str] = []
    monkeypatch.setattr(environments, "_install_packages", lambda name, *_: asked.append(name))
    return asked


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_an_environment_is_made_once(own_home: Path, no_install: list[str]) -> None:
    first, second = ensure_environment("onnx"), ensure_environment("onnx")
    assert first == second
    assert first.is_relative_to(own_home)
    assert no_install == ["onnx"]
    assert list((first / "lib").glob("libpython3.11.so.1.0"))
    assert environments.MODEL_LOGS in (first / "bin" / "activate").read_text()


def test_a_failed_installation_leaves_nothing(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise SourceError("no network")

    monkeypatch.setattr(environments, "_install_packages", fail)
    with pytest.raises(SourceError):
        ensure_environment("vllm")
    assert not [p for p in (own_home / "environments").iterdir() if p.is_dir()]


def test_an_unknown_environment_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as refusal:
        ensure_environment("tensorflow")
    assert refusal.value.hint == "known environments: onnx, vllm, onnx-cuda, vllm-cuda"


def test_links_follow_what_the_configs_say(
    own_home: Path, no_install: list[str], tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    (repository / "m").mkdir(parents=True)
    (repository / "m" / "config.pbtxt").write_text(
        'parameters { key: "EXECUTION_ENV_PATH" value { '
        'string_value: "$$TRITON_MODEL_DIRECTORY/../.environments/onnx" } }'
    )
    (root,) = link_environments(repository)
    assert (repository / ".environments" / "onnx").resolve() == root.resolve()
    link_environments(repository)
    assert no_install == ["onnx"]
    assert [link.name for link in (repository / ".environments").iterdir()] == ["onnx"]


def test_an_environment_that_cannot_be_written_is_used_as_it_is(
    own_home: Path, no_install: list[str], tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.pbtxt").write_text(
        'string_value: "$$TRITON_MODEL_DIRECTORY/../.environments/onnx"'
    )
    activate = ensure_environment("onnx") / "bin" / "activate"
    activate.write_text("# of an earlier release\n")
    activate.with_name(f".activate.{os.getpid()}").mkdir()  # writing fails there, also for root
    assert link_environments(tmp_path) == [activate.parents[1]]
    assert activate.read_text() == "# of an earlier release\n"


def test_a_missing_libpython_names_the_package(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.base_prefix", str(tmp_path))
    monkeypatch.setattr(local.sysconfig, "get_config_var", lambda _: str(tmp_path))
    with pytest.raises(SetupError) as refusal:
        ensure_environment("onnx")
    assert "libpython3.11" in (refusal.value.hint or "")


@pytest.mark.parametrize("name", NAMES)
def test_locks_pin_every_package_with_a_hash_and_numpy_below_2(name: str) -> None:
    lock = resources.files("toolkit.runtime").joinpath("locks", f"{name}.lock").read_text()
    pins = re.findall(r"^([a-z0-9][\w.-]*)==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[a-z0-9]", lock, re.MULTILINE)) > 20
    assert "\nnumpy==1.26.4 " in lock
    assert "torch" not in pins


@pytest.mark.parametrize("name", NAMES)
def test_the_real_environment_imports_what_it_is_for(name: str) -> None:
    python = ensure_environment(name) / "bin" / "python"
    wanted = {"onnx": "onnxruntime, tokenizers, diffusers", "vllm": "vllm, xgrammar"}[name]
    subprocess.run([python, "-c", f"import numpy, {wanted}"], check=True, timeout=120)


def test_pip_failure_tells_its_last_lines() -> None:
    with (
        silent.step("") as step,
        pytest.raises(SourceError, match=r"no-such-file\.txt"),
    ):
        run_pip(["download", "-r", "/no-such-file.txt"], step=step)
