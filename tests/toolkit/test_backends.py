import subprocess
import sys

import pytest

from toolkit.backends import backend_files, backends, load_served


def test_backends_are_the_folders_with_a_model() -> None:
    assert {"prompt", "vllm_engine", "tokenize", "encoder", "echo"} <= set(backends())


def test_shared_modules_come_along_when_they_are_imported() -> None:
    files = backend_files("encoder")
    assert {"model.py", "python_backends/onnx.py", "python_backends/encoder/grouping.py"} <= set(
        files
    )
    assert "python_backends/encoder/model.py" not in files
    assert "python_backends/templates.py" not in files


def test_an_unknown_backend_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        backend_files("prompts")


def test_files_are_listed_without_importing_the_package() -> None:
    check = (
        "import sys; from toolkit.backends import backend_files; backend_files('prompt'); "
        "sys.exit(any(name.startswith('python_backends') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_served_code_runs_once_from_its_file() -> None:
    module = load_served("denoise/order.py")
    assert load_served("denoise/order.py") is module
    assert module.__file__ == str(backend_files("denoise")["python_backends/denoise/order.py"])
