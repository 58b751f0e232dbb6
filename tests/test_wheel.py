"""The wheel, in an environment that holds nothing but it and what it depends on."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.checkpoint import save_spec
from tests.support.processes import ROOT, free_port, status_of, wait_for

UV = Path(sys.executable).with_name("uv")
LOCK = ROOT / "requirements" / "base.lock"


def run(*argv: str | Path, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | more
    return subprocess.run(
        [*map(str, argv)], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


def find_python(version: str) -> Path | None:
    """An interpreter of this version: on PATH, where pyenv's shims may fail, or pyenv's own."""
    on_path = [Path(each) for each in [shutil.which(f"python{version}")] if each]
    for path in [*on_path, *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]:
        if run(path, "-c", "import venv", folder=Path("/")).returncode == 0:
            return path
    return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no old `build/` gets into it and none is left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("toolkit", "frontend", "python_backends"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    ran = run(sys.executable, *build, "--wheel-dir", folder, folder, folder=folder)
    assert ran.returncode == 0, ran.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module", params=["3.11", "3.12", "3.13"])
def commands(wheel: Path, request: pytest.FixtureRequest) -> Path:
    """The folder of the commands that installing the wheel makes, for a version of Python."""
    folder = wheel.parent
    interpreter = find_python(request.param)
    if interpreter is None:
        pytest.skip(f"this machine has no Python {request.param}")
    python = folder / request.param / "bin" / "python"
    venv = ["venv", "--quiet", "--python", interpreter]
    install = ["pip", "install", "--quiet", "--python", python, "-c", LOCK, wheel]
    for argv in ([*venv, folder / request.param], install):
        ran = run(UV, *argv, folder=folder)
        assert ran.returncode == 0, ran.stderr
    return python.parent


def test_nothing_in_it_runs_by_itself(wheel: Path) -> None:
    """Python runs the lines of a `.pth` file, and `sitecustomize`, whenever it starts."""
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    own = {"toolkit", "frontend", "python_backends"}
    others = {name.partition("/")[0] for name in names} - own
    assert all(name.endswith(".dist-info") for name in others), others
    assert not [name for name in names if name.endswith(".pth") or "sitecustomize" in name]


def test_both_commands_start_anywhere(commands: Path, tmp_path: Path) -> None:
    toolkit, gateway = commands / "toolkit", commands / "triton-gateway"
    for command, word in (([toolkit], "build-repo"), ([gateway, "serve"], "--max-waiting")):
        ran = run(*command, "--help", folder=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert word in ran.stdout


def test_a_repository_is_built_and_verified_anywhere(commands: Path, tmp_path: Path) -> None:
    save_spec(tmp_path, "chat")
    home = {"TRITON_TOOLKIT_HOME": str(tmp_path / "home")}
    built = run(commands / "toolkit", "build-repo", folder=tmp_path, **home)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "model_repository/chat.engine/1/model.py").exists()
    checked = run(commands / "toolkit", "verify", folder=tmp_path, **home)
    assert checked.returncode == 0, checked.stdout
    assert "nothing to report" in checked.stderr


def test_the_python_api_verifies_anywhere(commands: Path, tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "config.pbtxt").write_text('name: "m"\nbackend: "python"\n')
    # -W error: what a newer Python warns of is gone in the one after it
    code = "import toolkit; print([one.code for one in toolkit.verify('.')], toolkit.build)"
    ran = run(commands / "python", "-W", "error", "-c", code, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "missing-file" in ran.stdout


def test_the_gateway_answers_anywhere(commands: Path, tmp_path: Path) -> None:
    port = free_port()
    flags = ["serve", "--port", str(port), "--triton", "127.0.0.1:9"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["TRITON_FRONTEND_DATA_DIRECTORY"] = str(tmp_path / "data")
    log = tmp_path / "log"
    with log.open("wb") as sink:
        gateway = subprocess.Popen(
            [commands / "triton-gateway", *flags],
            cwd=tmp_path,
            env=environment,
            stdout=sink,
            stderr=sink,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(
            lambda: gateway.poll() is not None or status_of(f"{url}/healthz") == 200,
            120,
            "an answer of the gateway",
        )
        assert gateway.poll() is None, log.read_text()
        assert status_of(f"{url}/playground") == 200
        assert status_of(f"{url}/v1/models") == 503  # there is no model server
        gateway.terminate()
        assert gateway.wait(60) == 0, log.read_text()
    finally:
        gateway.kill()
        gateway.wait()


def test_the_embedded_server_says_which_python_it_needs(commands: Path, tmp_path: Path) -> None:
    if commands.parent.name == "3.11":
        pytest.skip("this is the one")
    home = {"TRITON_TOOLKIT_HOME": str(tmp_path / "home")}
    ran = run(commands / "toolkit", "prepare", folder=tmp_path, **home)
    assert ran.returncode == 1
    assert "locked for Python 3.11" in ran.stderr
    assert "hint: install the toolkit with Python 3.11" in ran.stderr


def test_the_packages_are_typed_and_carry_their_data(commands: Path) -> None:
    (site,) = (commands.parent / "lib").glob("python*/site-packages")
    for package in ("toolkit", "frontend", "python_backends"):
        assert (site / package / "py.typed").exists()
    for tracked in ("toolkit/runtime/locks", "toolkit/engine_arguments", "toolkit/quantize/texts"):
        names = {path.name for path in (ROOT / tracked).iterdir() if path.is_file()}
        assert names <= {path.name for path in (site / tracked).iterdir()}
    assert not (site / "tests").exists()
