"""The Python backend: what `model.py` must define, and the parameters that the backend reads."""

from collections.abc import Iterator
from pathlib import Path

from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.python_source import CLASS, Method, read_source
from toolkit.verify.rule import rule


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
        if not method.decorator_list and not _takes(method, 2):
            text = "execute cannot be called with (self, requests)"
            yield model.hit_file(path, text, "write def execute(self, requests)", method.lineno)


@rule("python-signature", "Method that the backend cannot call", Effect.REFUSED)
def python_signature(model: Model) -> Iterator[Hit]:
    """The backend makes the object without arguments and calls `initialize(args)` with one."""
    for path in sources(model):
        source = read_source(path)
        for name, passed in (("__init__", 1), ("initialize", 2)):
            method = source.method(name)
            if method is not None and not method.decorator_list and not _takes(method, passed):
                wanted = ", ".join(("self", "args")[:passed])
                text = f"{name} cannot be called with ({wanted})"
                yield model.hit_file(path, text, f"write def {name}({wanted})", method.lineno)


def _takes(method: Method, passed: int) -> bool:
    """Whether a call with that many positional arguments, self included, works."""
    arguments = method.args
    plain = len(arguments.posonlyargs) + len(arguments.args)
    needed = plain - len(arguments.defaults)
    keywords = any(default is None for default in arguments.kw_defaults)
    return not keywords and needed <= passed and (passed <= plain or arguments.vararg is not None)


@rule("python-parameter", "Parameter that the Python backend cannot read", Effect.REFUSED)
def python_parameter(model: Model) -> Iterator[Hit]:
    """FORCE_CPU_ONLY_INPUT_TENSORS is `yes` or `no`."""
    name = "FORCE_CPU_ONLY_INPUT_TENSORS"
    parameters = model.config.parameters
    if model.served.backend == "python" and name in parameters:
        value = parameters[name].string_value
        if value not in {"yes", "no"}:
            path = f'parameters["{name}"].value.string_value'
            yield model.hit(path, f"{name} is '{value}'", 'write "yes" or "no"')


RULES = (python_code, python_class, python_execute, python_signature, python_parameter)
