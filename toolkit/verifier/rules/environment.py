"""The environment that a Python model runs in: whether it exists, and what it contains."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from toolkit.targets import with_engine
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.python_source import read_source
from toolkit.verifier.rule import rule
from toolkit.verifier.rules.python import sources

_ENVIRONMENT = 'parameters["EXECUTION_ENV_PATH"].value.string_value'
_VARIABLE = "$$TRITON_MODEL_DIRECTORY"
_GIVEN = sys.stdlib_module_names | {"triton_python_backend_utils", "c_python_backend_utils"}
_ENGINES = {"vllm_engine": "vllm", "trtllm_engine": "tensorrt-llm"}
"""Steps below python_backends/ -> what their `model.py` imports."""
_OWN = re.compile(r"own-[0-9a-f]{12}")
_NUMPY = re.compile(r"numpy-(\d+)\.[^-]*\.dist-info")


@rule("python-environment", "Python environment not found", Effect.REFUSED)
def python_environment(model: Model) -> Iterator[ModelFinding]:
    """EXECUTION_ENV_PATH must name a folder or an archive that exists when the model loads.

    `$$TRITON_MODEL_DIRECTORY` stands for the model's folder. It needs two dollar signs and works
    only at the beginning. For containers only paths inside the repository are checked.
    """
    value = _value(model)
    if value is None or _made_later(model, value):
        return
    path = _resolve(model, value)
    if value.startswith("$") and not value.startswith(_VARIABLE):
        text = f"'{value}' starts with an unknown variable"
        yield model.finding(_ENVIRONMENT, text, f"write {_VARIABLE}, with two dollar signs")
    elif path is None:
        if model.target.embedded:
            text = f"'{value}' is relative to the working directory of the server"
            yield model.finding(_ENVIRONMENT, text, f"write {_VARIABLE}/… or an absolute path")
    elif not path.exists():
        yield model.finding(
            _ENVIRONMENT,
            f"the environment {path} does not exist",
            "create it, or correct the path",
        )


def _value(model: Model) -> str | None:
    parameters = model.config.parameters
    if model.served.backend != "python" or "EXECUTION_ENV_PATH" not in parameters:
        return None
    return str(parameters["EXECUTION_ENV_PATH"].string_value)


def _made_later(model: Model, value: str) -> bool:
    """Whether it is a toolkit environment, which `toolkit serve` links before loading the model."""
    name = value.removeprefix(f"{_VARIABLE}/../.environments/")
    ours = name in {"onnx", "vllm"} or _OWN.fullmatch(name)
    return bool(ours) and not (model.root / ".environments" / name).exists()


def _resolve(model: Model, value: str) -> Path | None:
    """The path on this machine; None if it is not known."""
    if value.startswith(_VARIABLE):
        return Path(str(model.folder.absolute()) + value.removeprefix(_VARIABLE))
    return Path(value) if value.startswith("/") and model.target.embedded else None


@rule("python-host", "Python model without an environment", Effect.RISK)
def python_host(model: Model) -> Iterator[ModelFinding]:
    """On the embedded target a Python model without EXECUTION_ENV_PATH runs in the system's Python.

    It loads only if that Python has the same version as the stub, and numpy below 2.
    """
    if model.target.embedded and model.served.backend == "python" and _value(model) is None:
        yield model.finding(
            "parameters",
            f"model '{model.name}' has no EXECUTION_ENV_PATH and runs in the system's Python",
            'add parameters { key: "EXECUTION_ENV_PATH" value { string_value: "…" } }',
        )


@rule("python-numpy", "numpy 2 with a stub built for numpy 1", Effect.SILENT)
def python_numpy(model: Model) -> Iterator[ModelFinding]:
    """The Python stub of Triton 24.10 was built for numpy 1.

    With numpy 2 in the environment, INT32 [1, 2, 3, 4] arrives as [1, 1, 1, 1] without an error,
    and strings abort the process.
    """
    value = _value(model)
    if value is None or not model.target.numpy_below_2:
        return
    path = _resolve(model, value)
    for package in path.glob("lib/python3.*/site-packages/numpy-*.dist-info") if path else ():
        match = _NUMPY.fullmatch(package.name)
        if match and int(match[1]) >= 2:
            version = package.name.removeprefix("numpy-").removesuffix(".dist-info")
            text = f"the environment has numpy {version}, but {model.target.label} needs numpy 1"
            yield model.finding(_ENVIRONMENT, text, "install numpy==1.26.4 in the environment")


@rule("python-import", "Package missing from the environment", Effect.REFUSED)
def python_import(model: Model) -> Iterator[ModelFinding]:
    """`model.py` imports a package that is neither in its environment nor next to `model.py`.

    Checked if the environment is a folder on this machine, for top-level imports outside of `try`
    and `if`.
    """
    value = _value(model)
    environment = _resolve(model, value) if value else None
    packages = _packages(environment) if environment else None
    if packages is None:
        return
    for path in sources(model):
        # both are in the stub's sys.path
        local = {each.stem for folder in (path.parent, model.folder) for each in folder.iterdir()}
        for name, line in read_source(path).imports:
            if name not in packages and name not in local and name not in _GIVEN:
                text = f"the environment {environment} has no package '{name}'"
                fix = f"install it there, or put {name}.py next to {path.name}"
                yield model.file_finding(path, text, fix, line)


@rule("engine", "Engine not available on this target", Effect.REFUSED)
def engine(model: Model) -> Iterator[ModelFinding]:
    """The toolkit's engines are Python models that import vLLM or TensorRT-LLM.

    NVIDIA's images include at most one of them, and `-py3` includes neither.
    """
    for folder in model.served_versions.values():
        for step, name in _ENGINES.items():
            if (folder / "python_backends" / step).is_dir() and model.target.engine != name:
                others = ", ".join(with_engine(model.target.release, name)) or "another release"
                text = f"'{model.name}' needs {name}, which {model.target.name} does not include"
                yield model.finding("backend", text, f"use a target that has it: {others}")


def _packages(environment: Path) -> set[str] | None:
    """Top-level names that can be imported; None if the environment also uses other folders."""
    folders = list(environment.glob("lib/python3.*/site-packages"))
    if not folders or any(folders[0].glob("*.egg-link")):
        return None
    # packages of the system's Python cannot be listed for another machine
    if "include-system-site-packages = true" in _text(environment / "pyvenv.cfg"):
        return None
    links = [_text(each) for each in folders[0].glob("*.pth")]
    # a .pth line without `import` adds a folder
    if any(not line.startswith("import ") for text in links for line in text.split("\n") if line):
        return None
    # editable installs put finders there instead of packages
    if any(folders[0].glob("__editable__*")):
        return None
    return {each.name.partition(".")[0] for each in folders[0].iterdir()}


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


RULES = (python_environment, python_host, python_numpy, python_import, engine)
