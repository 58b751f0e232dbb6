"""The environment that a Python model runs in: whether it is there, and what is in it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from toolkit.targets import with_engine
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.python_source import read_source
from toolkit.verify.rule import rule
from toolkit.verify.rules.python import sources

_ENVIRONMENT = 'parameters["EXECUTION_ENV_PATH"].value.string_value'
_VARIABLE = "$$TRITON_MODEL_DIRECTORY"
_GIVEN = sys.stdlib_module_names | {"triton_python_backend_utils", "c_python_backend_utils"}
_ENGINES = {"vllm_engine": "vllm", "trtllm_engine": "tensorrt-llm"}
"""Steps below python_backends/ -> what their `model.py` imports."""
_OWN = re.compile(r"own-[0-9a-f]{12}")
_NUMPY = re.compile(r"numpy-(\d+)\.[^-]*\.dist-info")


@rule("python-environment", "Python environment that is not there", Effect.REFUSED)
def python_environment(model: Model) -> Iterator[Hit]:
    """EXECUTION_ENV_PATH names a folder or an archive that must exist when the model loads.

    `$$TRITON_MODEL_DIRECTORY`, with two dollar signs and only at the beginning, stands for the
    model's folder. For a container only paths inside of the repository can be checked.
    """
    value = _value(model)
    if value is None or _made_later(model, value):
        return
    path = _resolve(model, value)
    if value.startswith("$") and not value.startswith(_VARIABLE):
        text = f"'{value}' begins with a variable that the server does not know"
        yield model.hit(_ENVIRONMENT, text, f"write {_VARIABLE}, with two dollar signs")
    elif path is None:
        if model.target.embedded:
            text = f"'{value}' is relative to whatever folder the server was started in"
            yield model.hit(_ENVIRONMENT, text, f"write {_VARIABLE}/… or an absolute path")
    elif not path.exists():
        yield model.hit(
            _ENVIRONMENT,
            f"there is no environment at {path}",
            "make it, or write the path of one that exists",
        )


def _value(model: Model) -> str | None:
    parameters = model.config.parameters
    if model.served.backend != "python" or "EXECUTION_ENV_PATH" not in parameters:
        return None
    return str(parameters["EXECUTION_ENV_PATH"].string_value)


def _made_later(model: Model, value: str) -> bool:
    """The toolkit's own environments are linked by `toolkit serve`, right before it loads."""
    name = value.removeprefix(f"{_VARIABLE}/../.environments/")
    ours = name in {"onnx", "vllm"} or _OWN.fullmatch(name)
    return bool(ours) and not (model.root / ".environments" / name).exists()


def _resolve(model: Model, value: str) -> Path | None:
    """The path on this machine, None when it cannot be known."""
    if value.startswith(_VARIABLE):
        return Path(str(model.folder.absolute()) + value.removeprefix(_VARIABLE))
    return Path(value) if value.startswith("/") and model.target.embedded else None


@rule("python-host", "Python environment left to the machine", Effect.RISK)
def python_host(model: Model) -> Iterator[Hit]:
    """On the embedded target a Python model without EXECUTION_ENV_PATH runs in the system's Python.

    It loads only where that one is of the stub's version and has numpy below 2.
    """
    if model.target.embedded and model.served.backend == "python" and _value(model) is None:
        yield model.hit(
            "parameters",
            f"model '{model.name}' names no EXECUTION_ENV_PATH: it runs in the system's Python",
            'add parameters { key: "EXECUTION_ENV_PATH" value { string_value: "…" } }',
        )


@rule("python-numpy", "numpy 2 under a stub made for numpy 1", Effect.SILENT)
def python_numpy(model: Model) -> Iterator[Hit]:
    """The Python stub of Triton 24.10 was built for numpy 1.

    With numpy 2 in the environment INT32 [1, 2, 3, 4] arrives as [1, 1, 1, 1], without any error,
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
            text = f"the environment has numpy {version}, {model.target.label} needs numpy 1"
            yield model.hit(_ENVIRONMENT, text, "install numpy==1.26.4 into it")


@rule("python-import", "Package that the environment does not have", Effect.REFUSED)
def python_import(model: Model) -> Iterator[Hit]:
    """`model.py` imports, at its top, what is neither in its environment nor beside it.

    Checked where the environment is a folder on this machine, and only for imports that nothing
    guards.
    """
    value = _value(model)
    environment = _resolve(model, value) if value else None
    packages = _packages(environment) if environment else None
    if packages is None:
        return
    for path in sources(model):
        beside = {each.stem for folder in (path.parent, model.folder) for each in folder.iterdir()}
        for name, line in read_source(path).imports:
            if name not in packages and name not in beside and name not in _GIVEN:
                text = f"there is no package '{name}' in {environment}"
                fix = f"install it there, or put {name}.py beside {path.name}"
                yield model.hit_file(path, text, fix, line)


@rule("engine", "Language model whose engine the server lacks", Effect.REFUSED)
def engine(model: Model) -> Iterator[Hit]:
    """The toolkit's engines are Python models that import vLLM or TensorRT-LLM.

    Each of NVIDIA's images has one of them at most, and `-py3` has neither.
    """
    for folder in model.served_versions.values():
        for step, name in _ENGINES.items():
            if (folder / "python_backends" / step).is_dir() and model.target.engine != name:
                others = ", ".join(with_engine(model.target.release, name)) or "another release"
                text = f"'{model.name}' runs in {name}, and the target {model.target.name} lacks it"
                yield model.hit(
                    "backend", text, f"build and serve for a target that has it: {others}"
                )


def _packages(environment: Path) -> set[str] | None:
    """Top-level names that can be imported; None when links to elsewhere make that unknown."""
    folders = list(environment.glob("lib/python3.*/site-packages"))
    if not folders or any(folders[0].glob("*.egg-link")):
        return None
    if "include-system-site-packages = true" in _text(environment / "pyvenv.cfg"):
        return None
    links = [_text(each) for each in folders[0].glob("*.pth")]
    if any(not line.startswith("import ") for text in links for line in text.split("\n") if line):
        return None
    if any(folders[0].glob("__editable__*")):
        return None
    return {each.name.partition(".")[0] for each in folders[0].iterdir()}


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


RULES = (python_environment, python_host, python_numpy, python_import, engine)
