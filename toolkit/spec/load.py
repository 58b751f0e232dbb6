"""Loads a models.yaml: returns its checked models, or raises all errors with their lines."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolkit import kinds
from toolkit.errors import SpecError, ToolkitError
from toolkit.fields.entry import BaseEntry
from toolkit.finding import Finding
from toolkit.kinds.kind import Surroundings
from toolkit.spec import document
from toolkit.spec.checks import name_findings
from toolkit.spec.document import Document
from toolkit.spec.explain import errors, explain, kindless_findings
from toolkit.spec.models import ENTRIES, ENTRY, Models
from toolkit.spec.overrides import change_findings, changed, names_for
from toolkit.targets import Target


@dataclass(frozen=True, slots=True)
class Spec:
    """A models.yaml and the folder that its relative paths start from. `read` has the lines."""

    models: Mapping[str, BaseEntry]
    folder: Path
    read: Document

    @property
    def file(self) -> str:
        """The name of the file that it was read from, without its folder."""
        return Path(self.read.file).name

    def for_target(self, target: Target) -> dict[str, BaseEntry]:
        """The models with their changes for `target`.

        Raises SpecError for what this target cannot do, with lines.
        """
        found = _Reading(self.read, self.folder)
        found.for_target(target)
        found.refuse()
        return found.entries

    def finding_of(self, model: str, error: ToolkitError) -> Finding:
        """The error about a model: at the line of the field that it names, else of the source."""
        path = ("models", model, *(error.field or ("source",)))
        return self.read.finding(path, error.message, error.hint)


class InvalidSpec(SpecError):
    """A models.yaml with errors; `read` has its entries as far as they can be read."""

    def __init__(self, findings: list[Finding], read: Spec) -> None:
        super().__init__(findings)
        self.read = read

    @property
    def valid(self) -> list[str]:
        """The names of the models without errors."""
        fields = [finding.place.field for finding in self.findings]
        return [name for name in self.read.models if not any(map(_is_of(name), fields))]


def _is_of(name: str) -> Callable[[str], bool]:
    own = f"models.{name}"
    return lambda field: field == own or field.startswith((f"{own}.", f"{own}["))


def load(path: Path, target: Target | None = None) -> Spec:
    """Reads and checks a models.yaml. Raises InvalidSpec with all findings in line order, and
    SpecError for a file that cannot be read.

    With a target, a file with errors is also checked for what this target cannot do.
    """
    name = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise SpecError([document.finding(name, 0, (), text, _hint(path, error))]) from error
    except UnicodeDecodeError as error:
        problem, hint = f"is not UTF-8 text: {error.reason}", "save it as UTF-8"
        raise SpecError([document.finding(name, 0, (), problem, hint)]) from error
    return parse(name, text, path.absolute().parent, target)


def _hint(path: Path, error: OSError) -> str:
    match error:
        case FileNotFoundError() if path.name == path.as_posix() == "models.yaml":
            return "create one with `toolkit init`, or name another file"
        case IsADirectoryError():
            return "name a file, such as models.yaml"
        case PermissionError():
            return "check its permissions"
    return "check the path"


def parse(name: str, text: str, folder: Path, target: Target | None = None) -> Spec:
    """Like `load`, for text; `folder` is where `path:` sources start. Raises InvalidSpec with all
    errors of the text."""
    read = document.read(name, text)
    found = _Reading(read, folder)
    found.findings += read.findings
    models: Models | None = None
    if read.data is not None or not read.findings:
        try:
            # as JSON: strict models then take lists for tuples, as YAML has them
            models = Models.model_validate_json(_json(read.data))
        except ValidationError as error:
            found.findings += [
                explain(read, details, kind=_kind(read, details["loc"]))
                for details in errors(error)
            ]
        found.quiet = True  # what is wrong with single values has just been said
        for model, raw in _raw_models(read).items():
            if raw.get("kind") not in ENTRIES:
                found.findings += kindless_findings(read, model, raw)
            found.entry(model, raw)
        found.findings += name_findings(read, _raw_models(read))
        found.check()
        found.quiet = False
        for model, raw in _raw_models(read).items():
            found.changes(model, raw)
        # a sound file is checked for its target by `Spec.for_target`
        if found.findings and target is not None:
            found.for_target(target)
    found.refuse()
    assert models is not None
    return Spec(models.models, folder, read)


class _Reading:
    """Entries as far as they can be read, and all that is wrong with them."""

    def __init__(self, read: Document, folder: Path) -> None:
        self._read = read
        self._folder = folder
        self.findings: list[Finding] = []
        self.quiet = False
        self.entries: dict[str, BaseEntry] = {}
        self._origins: dict[str, dict[document.Path, document.Path]] = {}

    def entry(
        self,
        name: str,
        raw: dict[str, Any],
        targets: tuple[str, ...] = (),
    ) -> BaseEntry | None:
        """The entry with its changes for `targets`, without invalid parts; None if invalid."""
        merged, self._origins[name] = changed(raw, targets)
        try:
            entry = ENTRY.validate_json(_json(merged))
        except ValidationError as error:
            kind = str(merged.get("kind"))
            if not self.quiet:
                self.findings += [
                    explain(self._read, details, self._place(name), kind)
                    for details in errors(error)
                ]
            left = _pruned(merged, error)
        else:
            left = entry
        if left is not None:
            self.entries[name] = left
        return left

    def for_target(self, target: Target) -> None:
        """The entries with their changes for `target`, and what it cannot do."""
        for name, raw in _raw_models(self._read).items():
            self.entry(name, raw, names_for(target.name))
        self.check(target)

    def check(self, target: Target | None = None) -> None:
        """Checks what depends on several fields, entries or the disk."""
        around = Surroundings(self.entries, self._folder, target, self._read.file)
        for name, entry in self.entries.items():
            for place, problem, hint in kinds.of(entry).findings(name, entry, around):
                path = ("models", name, *self._moved(name, place))
                self._add(self._read.finding(path, problem, hint))

    def changes(self, name: str, raw: dict[str, Any]) -> None:
        """What is wrong inside `targets` of one entry, before any target is chosen."""
        for place, problem, hint in change_findings(raw):
            self._add(self._read.finding(("models", name, *place), problem, hint))
        overrides = raw.get("targets")
        for target in overrides if isinstance(overrides, dict) else ():
            merged, origins = changed(raw, (target,))
            try:
                ENTRY.validate_json(_json(merged))
            except ValidationError as error:
                for details in errors(error):
                    at = tuple(part for part in details["loc"] if part != raw.get("kind"))
                    if any(at[: len(place)] == place for place in origins):
                        kind = str(raw.get("kind"))
                        place = ("models", name, "targets", target)
                        self._add(explain(self._read, details, place, kind))

    def refuse(self) -> None:
        """Raises InvalidSpec when anything was found."""
        if self.findings:
            # the same fault may be found for the file and for the target
            findings = sorted(
                set(self.findings),
                key=lambda each: (each.place.line, each.place.field, each.text),
            )
            raise InvalidSpec(findings, Spec(self.entries, self._folder, self._read))

    def _add(self, finding: Finding) -> None:
        if finding not in self.findings:
            self.findings.append(finding)

    def _place(self, name: str) -> document.Path:
        return ("models", name)

    def _moved(self, name: str, place: document.Path) -> document.Path:
        """Where `place` really stands: perhaps below `targets`."""
        origins = self._origins.get(name, {})
        for length in range(len(place), 0, -1):
            if place[:length] in origins:
                return (*origins[place[:length]], *place[length:])
        return place


_TENSOR = {"tensor": {"type": "BOOL", "dims": [1]}}
_STAND_INS = {"context_length": 16, "source": "path:.", "inputs": _TENSOR, "outputs": _TENSOR}
"""For required values that are missing or wrong, so that the others can still be judged."""


def _pruned(raw: dict[str, Any], error: ValidationError) -> BaseEntry | None:
    """What is left of an entry without the values that are wrong; None when that is not enough."""
    left = copy.deepcopy(raw)
    for details in error.errors():
        # the first part is the union's tag, the kind
        path = [part for part in details["loc"][1:] if part != "[key]"]
        _drop(left, path)
    # what is checked against tensors means nothing without them
    if not {"inputs", "outputs"} <= set(left):
        left = {key: value for key, value in left.items() if key not in {"contract", "warmup"}}
    kind = ENTRIES.get(str(left.get("kind")))
    known = kind.model_fields if kind else {}
    left |= {key: value for key, value in _STAND_INS.items() if key in known and key not in left}
    try:
        return ENTRY.validate_json(_json(left))
    except ValidationError:
        return None


def _drop(value: Any, path: list[str | int]) -> None:
    """Takes away the value at `path`: a list's as a whole, so that the others keep their places."""
    for index, part in enumerate(path):
        if not isinstance(value, dict) or part not in value:
            return
        if index == len(path) - 1 or not isinstance(value[part], dict):
            del value[part]
            return
        value = value[part]


def _raw_models(read: Document) -> dict[str, dict[str, Any]]:
    models = read.data.get("models") if isinstance(read.data, dict) else None
    entries: Iterator[tuple[str, Any]] = iter(models.items() if isinstance(models, dict) else ())
    return {name: entry for name, entry in entries if isinstance(entry, dict)}


def _kind(read: Document, loc: tuple[str | int, ...]) -> str:
    if len(loc) < 2:
        return ""
    kind = str(_raw_models(read).get(str(loc[1]), {}).get("kind"))
    return kind if kind in ENTRIES else ""


def _json(data: object) -> str:
    return json.dumps(data, default=str)
