"""Prints the result of `toolkit build-repo --dry-run`, as text or JSON."""

from dataclasses import asdict

from toolkit.building.estimates import DOWNLOAD_BYTES_PER_S
from toolkit.building.preview import Preview, Work
from toolkit.cli.output import print_json, print_line, print_table, say
from toolkit.cli.sizes import duration, size
from toolkit.home import home
from toolkit.machine import LocalMachine, memory_bytes
from toolkit.repository.plan import ModelPlan

_MOST_FILES = 3
"""Of one model and sort; --json has all."""


def show(found: Preview, as_json: bool) -> None:
    """Prints the plan to stdout."""
    if as_json:
        print_json(_json(found))
        return
    target = found.plan.target.name
    print_line(f"{found.output}: {_models(len(found.plan.models))} for {target}")
    print_line()
    names = tuple(_title(model) for model in found.plan.models)
    for name in names:
        print_line(name)
    print_line()
    rows = [_row(work) for work in found.works]
    print_table(("model", "step", "what", "size", "time", "memory"), rows, right=("size",))
    print_line()
    _show_files(found)
    _show_total(found)


def _title(model: ModelPlan) -> str:
    steps = " → ".join(step.step for step in model.steps)
    adapters = f", adapters {', '.join(model.public[1:])}" if model.public[1:] else ""
    return f"{model.name}: {model.entry.kind}" + (f" ({steps})" if steps else "") + adapters


def _row(work: Work) -> tuple[str, ...]:
    if work.done:
        known = size(work.size_bytes) if work.size_bytes is not None else ""
        # a path source is used where it is, not copied into the cache
        where = "local" if work.what.startswith("path:") else "cached"
        return work.model, work.step, work.what, known, where, ""
    about = "" if work.step == "download" else "about "
    return (
        work.model,
        work.step,
        work.what,
        about + size(work.size_bytes) if work.size_bytes is not None else "unknown",
        f"about {duration(work.seconds)}" if work.seconds is not None else "unknown",
        f"about {size(work.memory_bytes)}" if work.memory_bytes is not None else "",
    )


def _show_files(found: Preview) -> None:
    changes = found.changes
    sorts = {"add": changes.added, "change": changes.changed, "remove": changes.removed}
    for word, files in sorts.items():
        for line in _grouped(files):
            print_line(f"{word}\t{line}")
    print_line(f"{changes.unchanged} files are unchanged")


def _grouped(files: tuple[str, ...]) -> list[str]:
    """Files by the model that they belong to: names where there are few, else how many."""
    by_model: dict[str, list[str]] = {}
    for file in files:
        by_model.setdefault(file.partition("/")[0], []).append(file)
    lines = []
    for model, names in by_model.items():
        few = len(names) <= _MOST_FILES
        lines += names if few else [f"{model}/: {len(names)} files (--json lists them)"]
    return lines


def _show_total(found: Preview) -> None:
    if not found.needed:
        print_line("Everything is cached: a build takes a few seconds. Nothing was written.")
        return
    unknown = any(work.size_bytes is None for work in found.needed)
    least = "at least " if unknown else "about "
    print_line(
        f"A build takes {least}{duration(found.seconds)} on two cores (downloads at "
        f"{DOWNLOAD_BYTES_PER_S / 1e6:.0f} MB/s), {least}{size(found.disk_bytes)} of disk "
        f"({size(found.free_bytes)} are free) and {size(found.memory_bytes)} of memory. "
        "Nothing was written."
    )
    # a warning only: estimates may be wrong by a factor
    if found.disk_bytes > found.free_bytes:
        say(("warning:", "warning"), f" the disk of {home()} is too small; see toolkit cache prune")
    # what is free now: a conversion beside a running service may not fit
    memory = memory_bytes(LocalMachine()).available_bytes
    if found.memory_bytes > memory:
        say(("warning:", "warning"), f" only {size(memory)} of memory are available")


def _models(count: int) -> str:
    return f"{count} model" + ("" if count == 1 else "s")


def _json(found: Preview) -> dict[str, object]:
    return found.plan.summary() | {
        "output": str(found.output),
        "steps": [asdict(work) for work in found.works],
        "changes": asdict(found.changes),
        "total": {
            "seconds": round(found.seconds, 1),
            "disk_bytes": found.disk_bytes,
            "free_bytes": found.free_bytes,
            "memory_bytes": found.memory_bytes,
        },
    }
