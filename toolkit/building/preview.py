"""Describes what a build would do: downloads, conversions, changed files, disk space.

Everything that can be refused now is refused (`early`). Nothing is written; unless offline, sizes
of downloads are asked for.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit import kinds
from toolkit.building import estimates
from toolkit.building.changes import Changes, find_changes
from toolkit.building.early import check_early
from toolkit.building.previous import refuse_foreign
from toolkit.building.quantization import method_of
from toolkit.building.states import State
from toolkit.fields.entry import SourcedEntry
from toolkit.home import home
from toolkit.repository.plan import Plan, make_plan
from toolkit.spec import Source, Spec
from toolkit.targets import Target
from toolkit.weights.sizes import download_bytes
from toolkit.weights.state import find_local, size_of


@dataclass(frozen=True, slots=True)
class Work:
    """One step for one model. `done`: its result is in the cache. `size_bytes` is what it adds to
    the disk; None, and so the time, if that is not known."""

    model: str
    step: Literal["download", "convert", "quantize"]
    what: str
    done: bool
    size_bytes: int | None
    seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """All steps in order, and the difference to the repository that is there."""

    plan: Plan
    output: Path
    works: tuple[Work, ...]
    changes: Changes
    free_bytes: int

    @property
    def needed(self) -> tuple[Work, ...]:
        """The steps that are not cached."""
        return tuple(work for work in self.works if not work.done)

    @property
    def disk_bytes(self) -> int:
        """The bytes that the steps add to the disk, as far as they are known."""
        return sum(work.size_bytes or 0 for work in self.needed)

    @property
    def seconds(self) -> float:
        return sum(work.seconds or 0 for work in self.needed)

    @property
    def memory_bytes(self) -> int:
        """Of the step that needs most."""
        return max((work.memory_bytes or 0 for work in self.needed), default=0)


def preview(spec: Spec, target: Target, output: Path, *, offline: bool = False) -> Preview:
    """What `build` with these arguments would do. Raises the errors of `build`, as far
    as they are known without it."""
    plan = make_plan(spec.for_target(target), target, spec.file)
    refuse_foreign(output)
    # the same checks as a build's, so a plan that is shown can be carried out
    states = check_early(spec, plan)
    works = [
        work
        for model in plan.models
        if isinstance(model.entry, SourcedEntry)
        for work in _works(model.name, model.entry, states[model.name], spec.folder, offline)
    ]
    free = shutil.disk_usage(_existing(home())).free
    return Preview(plan, output, tuple(works), find_changes(plan, states, output), free)


def _works(name: str, entry: SourcedEntry, state: State, folder: Path, offline: bool) -> list[Work]:
    works = [_download(name, entry.origin, state.fetched is not None, offline)]
    if state.fetched is not None:
        # the size of what is here, as the conversion's cost depends on it
        works[0] = Work(name, "download", str(entry.origin), True, size_of(state.fetched.path))
    works.append(_conversion(name, entry, state, works[0].size_bytes))
    kind = kinds.of(entry)
    if (number_type := kind.quantization(entry)) is not None:
        works.append(_quantization(name, number_type, state, works[1].size_bytes))
    for adapter, given in kind.adapters(entry).items():
        here = find_local(given.origin, folder) is not None
        works.append(_download(f"{name}/{adapter}", given.origin, here, offline))
    return works


def _download(name: str, source: Source, here: bool, offline: bool) -> Work:
    if here:
        return Work(name, "download", str(source), True, None)
    size = download_bytes(source, offline=offline)
    seconds = None if size is None else estimates.download_seconds(size)
    return Work(name, "download", str(source), False, size, seconds)


def _conversion(name: str, entry: SourcedEntry, state: State, source_bytes: int | None) -> Work:
    path = state.fetched.path if state.fetched is not None else Path(_file_name(entry))
    conversion = kinds.of(entry).conversion(path)
    what = conversion.title
    if state.converted is not None:
        return Work(name, "convert", what, True, size_of(state.converted))
    if source_bytes is None:
        return Work(name, "convert", what, False, None)
    cost = estimates.conversion_cost(conversion, source_bytes, path.name)
    return Work(name, "convert", what, False, cost.size_bytes, cost.seconds, cost.memory_bytes)


def _quantization(name: str, quantization: str, state: State, size: int | None) -> Work:
    what = f"{quantization}, with a quality report"
    if state.quantized is not None:
        return Work(name, "quantize", what, True, size_of(state.quantized))
    if size is None:
        return Work(name, "quantize", what, False, None)
    cost = estimates.quantization_cost(method_of(quantization), size)
    return Work(name, "quantize", what, False, cost.size_bytes, cost.seconds, cost.memory_bytes)


def _file_name(entry: SourcedEntry) -> str:
    """The end of the source's text, which distinguishes a GGUF file from a directory."""
    return str(entry.origin).rpartition("/")[2].rpartition(":")[2] or "weights"


def _existing(path: Path) -> Path:
    # the home may not exist before the first build
    return path if path.exists() else _existing(path.parent)
