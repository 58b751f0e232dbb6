"""The Python backend: what `model.py` must define, and the environment it runs in."""

import re
from collections.abc import Iterator
from pathlib import Path

from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.python_source import CLASS, read_source
from toolkit.verify.rule import rule

_ENVIRONMENT = 'parameters["EXECUTION_ENV_PATH"].value.string_value'
_VARIABLE = "$$TRITON_MODEL_DIRECTORY"
_NUMPY = re.compile(r"numpy-(\d+)\.[^-]*\.dist-info")


def sources(model: Model) -> Iterator[Path]:
    """The `model.py` of each served version of a Python model."""
    if model.served.backend == "python":
        for folder in model.served_versions.values():
            path = folder / model.served.filename
            if path.is_file():
                yield path


@rule("python-code", "model.py does not compile", Effect.REFUSED)
def python_code(model: Model) -> Iterator[Hit]:
    """A syntax error in `model.py` for the Python of the target's stub."""
    for path in sources(model):
        if error := read_source(path).error:
            yield model.hit_file(
                path, f"this is not Python: {error.msg}", "mend the line", _line(path, error)
            )


def _line(path: Path, error: SyntaxError) -> int:
    count = len(path.read_bytes().splitlines())
    return min(error.lineno or 0, count)


@rule("python-class", "model.py without its class", Effect.REFUSED)
def python_class(model: Model) -> Iterator[Hit]:
    """`model.py` must define `class TritonPythonModel`, spelt so, or import it."""
    for path in sources(model):
        source = read_source(path)
        if source.error or source.model or source.imported:
            continue
        near = source.near
        yield model.hit_file(
            path,
            f"there is no class {CLASS}"
            + (f"; did you mean '{near.name}'?" if near is not None else ""),
            f"rename the class to {CLASS}" if near is not None else f"write class {CLASS}",
            near.lineno if near is not None else 0,
        )


@rule("python-execute", "Class without a usable execute", Effect.FAILS)
def python_execute(model: Model) -> Iterator[Hit]:
    """`execute(self, requests)` is what each request calls; nothing checks it while loading."""
    for path in sources(model):
        source = read_source(path)
        if source.model is None:
            continue
        method = source.method("execute")
        if method is None:
            if not source.inherits:
                text, fix = f"{CLASS} has no execute", "write def execute(self, requests)"
                yield model.hit_file(path, text, fix, source.model.lineno)
            continue
        plain = method.args.posonlyargs + method.args.args
        needed = len(plain) - len(method.args.defaults)
        if not method.decorator_list and not (needed <= 2 and (len(plain) >= 2 or method.args.vararg)):
            text = f"execute takes {len(plain)} arguments, the backend passes self and requests"
            yield model.hit_file(path, text, "write def execute(self, requests)", method.lineno)


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
    return parameters["EXECUTION_ENV_PATH"].string_value


def _made_later(model: Model, value: str) -> bool:
    """The toolkit's own environments are linked by `toolkit serve`, right before it loads."""
    name = value.removeprefix(f"{_VARIABLE}/../.environments/")
    return name in {"onnx", "vllm"} and not (model.root / ".environments").exists()


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


RULES = (
    python_code, python_class, python_execute, python_environment, python_host, python_numpy,
)  # fmt: skip
