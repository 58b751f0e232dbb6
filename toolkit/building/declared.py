"""Findings about models that users declared themselves, told where they are declared.

`toolkit verify` sees a config.pbtxt; the one who can change it sees models.yaml.
"""

import re

from toolkit.finding import Finding
from toolkit.spec import EnsembleEntry, PythonEntry, Spec
from toolkit.spec.document import Path
from toolkit.verify.problem import Problem

_FIELD = re.compile(r"(\w+)(?:\[(\d+)\])?")


def is_users_own(spec: Spec, problem: Problem) -> bool:
    """Whether a problem's model is a `python` or `ensemble` entry."""
    entry = spec.catalogue.models.get(problem.model)
    return isinstance(entry, PythonEntry | EnsembleEntry)


def finding_of(spec: Spec, problem: Problem) -> Finding:
    """The problem at its place in models.yaml, or in the user's own file."""
    path: Path = ("models", problem.model, *_place(spec, problem))
    where = "" if problem.place.file.endswith("config.pbtxt") else f"{_inner(problem)}: "
    return spec.read.finding(path, f"{where}{problem.message} ({problem.outcome})", problem.fix)


def _inner(problem: Problem) -> str:
    """A file of the user's model, relative to the source that it was copied from."""
    name = problem.place.file.rpartition(f"{problem.model}/1/")[2]
    return f"{name}:{problem.place.line}" if problem.place.line else name


def _place(spec: Spec, problem: Problem) -> Path:
    """`input[1].dims` is `inputs.NAME`, a step's `input_map` is `steps[0].inputs`."""
    entry = spec.catalogue.models[problem.model]
    assert isinstance(entry, PythonEntry | EnsembleEntry)
    parts = [match.groups() for match in _FIELD.finditer(problem.field)]
    if not parts:
        return ()
    head, index = parts[0]
    if head in {"input", "output"}:
        names = list(entry.inputs if head == "input" else entry.outputs)
        number = int(index) if index is not None else len(names)
        return (f"{head}s", names[number]) if number < len(names) else (f"{head}s",)
    if head == "ensemble_scheduling":
        step = next((number for name, number in parts if name == "step" and number), None)
        side = next((f"{name[:-4]}s" for name, _ in parts if name in _MAPS), None)
        if step is None:
            return ("steps",)
        return ("steps", int(step), side) if side else ("steps", int(step))
    return ()


_MAPS = {"input_map", "output_map"}
