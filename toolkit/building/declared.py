"""Moves findings about models that users declared to the place where they declared them.

`toolkit verify` reports a line of config.pbtxt; the user can only change models.yaml.
"""

import re
from collections.abc import Sequence

from toolkit.fields.entry import DeclaredFields
from toolkit.finding import Finding
from toolkit.spec import Spec
from toolkit.spec.document import Path
from toolkit.verifier.finding import ModelFinding

_PAIR = re.compile(r'key: "([^"]*)" value: "([^"]*)"')
_ADDED = re.compile(r'add (input|output)_map \{ key: "([^"]*)" value: "…" \}')
_FIELD = re.compile(r"(\w+)(?:\[(\d+)\])?")


def is_users_own(spec: Spec, finding: ModelFinding) -> bool:
    """Whether the finding's model is a `python` or `ensemble` entry."""
    entry = spec.models.get(finding.model)
    return isinstance(entry, DeclaredFields)


def finding_of(spec: Spec, finding: ModelFinding) -> Finding:
    """The finding at its place in models.yaml."""
    path: Path = ("models", finding.model, *_place(spec, finding))
    # a file of the user's own has a line of its own; the generated config's does not help
    where = "" if finding.place.file.endswith("config.pbtxt") else f"{_inner(finding)}: "
    fix = None if finding.fix is None else _as_yaml(finding.fix)
    return spec.read.finding(path, f"{where}{finding.text} ({finding.outcome})", fix)


def without_consequences(findings: Sequence[ModelFinding]) -> list[ModelFinding]:
    """Removes findings that only follow from a map whose keys and values are swapped."""
    swapped = {
        (each.model, name)
        for each in findings
        for pair in _PAIR.findall(each.fix or "")
        for name in pair
    }
    return [
        each
        for each in findings
        if _PAIR.search(each.fix or "")
        or not any(each.model == model and f"'{name}'" in each.text for model, name in swapped)
    ]


def _as_yaml(fix: str) -> str:
    """A fix in the syntax of models.yaml instead of config.pbtxt."""
    fix = _PAIR.sub(r"`\1: \2`", _ADDED.sub(r"add `\2: …` to `\1s`", fix))
    return fix.replace("input_map", "inputs").replace("output_map", "outputs")


def _inner(finding: ModelFinding) -> str:
    """A file of the user's model, relative to the source that it was copied from."""
    name = finding.place.file.rpartition(f"{finding.model}/1/")[2]
    return f"{name}:{finding.place.line}" if finding.place.line else name


def _place(spec: Spec, finding: ModelFinding) -> Path:
    """`input[1].dims` is `inputs.NAME`, a step's `input_map` is `steps[0].inputs`."""
    entry = spec.models[finding.model]
    assert isinstance(entry, DeclaredFields)
    parts = [match.groups() for match in _FIELD.finditer(finding.place.field)]
    if not parts:
        return ()
    head, index = parts[0]
    if head in {"input", "output"}:
        names = list(entry.inputs if head == "input" else entry.outputs)
        # protobuf keeps the order of models.yaml, so an index there is one here
        number = int(index) if index is not None else len(names)
        return (f"{head}s", names[number]) if number < len(names) else (f"{head}s",)
    if head == "ensemble_scheduling":
        step = next((number for name, number in parts if name == "step" and number), None)
        # input_map → inputs
        side = next((f"{name[:-4]}s" for name, _ in parts if name in _MAPS), None)
        if step is None:
            return ("steps",)
        return ("steps", int(step), side) if side else ("steps", int(step))
    return ()


_MAPS = {"input_map", "output_map"}
