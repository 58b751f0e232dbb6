"""The Python backend: what `model.py` must define, and the parameters of the backend."""

from collections.abc import Iterator
from pathlib import Path

from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.python_source import CLASS, Method, read_source
from toolkit.verifier.rule import rule


def sources(model: Model) -> Iterator[Path]:
    """The `model.py` of each served version of a Python model."""
    if model.served.backend == "python":
        for folder in model.served_versions.values():
            path = folder / model.served.filename
            if path.is_file():
                yield path


@rule("python-code", "model.py does not compile", Effect.REFUSED)
def python_code(model: Model) -> Iterator[ModelFinding]:
    """`model.py` has a syntax error for the Python version of the target's stub."""
    for path in sources(model):
        if error := read_source(path).error:
            yield model.file_finding(
                path, f"invalid Python: {error.msg}", "correct the line", _line(path, error)
            )


def _line(path: Path, error: SyntaxError) -> int:
    count = len(path.read_bytes().splitlines())
    # a file that ends too early has its error behind its last line
    return min(error.lineno or 0, count)


@rule("python-class", "model.py without its class", Effect.REFUSED)
def python_class(model: Model) -> Iterator[ModelFinding]:
    """`model.py` must define or import a class with exactly the name `TritonPythonModel`."""
    for path in sources(model):
        source = read_source(path)
        if source.error or source.model or source.imported:
            continue
        near = source.near
        yield model.file_finding(
            path,
            f"the class {CLASS} is missing"
            + (f"; did you mean '{near.name}'?" if near is not None else ""),
            f"rename the class to {CLASS}" if near is not None else f"add class {CLASS}",
            near.lineno if near is not None else 0,
        )


@rule("python-execute", "Missing or invalid execute method", Effect.FAILS)
def python_execute(model: Model) -> Iterator[ModelFinding]:
    """Each request calls `execute(self, requests)`. The server does not check it while loading."""
    for path in sources(model):
        source = read_source(path)
        if source.model is None:
            continue
        method = source.method("execute")
        if method is None:
            if not source.inherits:
                text, fix = f"{CLASS} has no method execute", "add def execute(self, requests)"
                yield model.file_finding(path, text, fix, source.model.lineno)
            continue
        # a decorator may change what the method takes
        if not method.decorator_list and not _takes(method, 2):
            text = "execute cannot be called with (self, requests)"
            yield model.file_finding(path, text, "write def execute(self, requests)", method.lineno)


@rule("python-signature", "Method with a wrong signature", Effect.REFUSED)
def python_signature(model: Model) -> Iterator[ModelFinding]:
    """The backend creates the object without arguments and calls `initialize(args)`."""
    for path in sources(model):
        source = read_source(path)
        for name, passed in (("__init__", 1), ("initialize", 2)):
            method = source.method(name)
            if method is not None and not method.decorator_list and not _takes(method, passed):
                expected = ", ".join(("self", "args")[:passed])
                text = f"{name} cannot be called with ({expected})"
                yield model.file_finding(path, text, f"write def {name}({expected})", method.lineno)


def _takes(method: Method, passed: int) -> bool:
    """Whether a call with that many positional arguments, self included, works."""
    arguments = method.args
    plain = len(arguments.posonlyargs) + len(arguments.args)
    needed = plain - len(arguments.defaults)
    keywords = any(default is None for default in arguments.kw_defaults)
    return not keywords and needed <= passed and (passed <= plain or arguments.vararg is not None)


@rule("python-parameter", "Invalid parameter of the Python backend", Effect.REFUSED)
def python_parameter(model: Model) -> Iterator[ModelFinding]:
    """FORCE_CPU_ONLY_INPUT_TENSORS must be `yes` or `no`."""
    name = "FORCE_CPU_ONLY_INPUT_TENSORS"
    parameters = model.config.parameters
    if model.served.backend == "python" and name in parameters:
        value = parameters[name].string_value
        if value not in {"yes", "no"}:
            path = f'parameters["{name}"].value.string_value'
            yield model.finding(
                path, f"{name} is '{value}'; expected yes or no", 'write "yes" or "no"'
            )


RULES = (python_code, python_class, python_execute, python_signature, python_parameter)
