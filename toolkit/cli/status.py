"""How `toolkit models` shows what it found: tables for people, JSON for scripts."""

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from toolkit.serve.canary import Answer
from toolkit.serve.control import Control, ModelStatus, steps_of


def described(model: ModelStatus) -> dict[str, Any]:
    """A model as JSON."""
    served = model.served
    aliases = served.parameter("toolkit.aliases")
    return {
        "model": model.name,
        "kind": served.kind or None,
        "serving": model.serving,
        "state": state(model),
        "aliases": json.loads(aliases) if aliases else [],
        "steps": steps_of(model.config),
        "step_of": list(model.step_of),
        "versions": [
            {"version": each.number, "state": each.state, "reason": each.reason}
            for each in model.versions
        ],
    }


def state(model: ModelStatus) -> str:
    """`ready`, `not loaded`, `loading`, or the reason of what failed."""
    if model.serving:
        failed = [each for each in model.versions if each.reason not in ("", "unloaded")]
        if not failed:
            return "ready"
        return f"ready; version {failed[-1].number} failed: {first_line(failed[-1].reason)}"
    for version in model.versions:
        if version.state in ("LOADING", "UNLOADING"):
            return version.state.lower()
        if version.reason not in ("", "unloaded"):
            return f"failed: {first_line(version.reason)}"
    return "not loaded"


def work_of(control: Control, model: ModelStatus) -> list[dict[str, Any]]:
    """What each loaded version has done, as rows."""
    rows = []
    for each in control.statistics(model.name):
        done, failed = each.inference_stats.success, each.inference_stats.fail
        queue, count = each.inference_stats.queue, max(1, done.count)
        rows.append(
            {
                "model": model.name,
                "version": int(each.version),
                "requests": done.count + failed.count,
                "failed": failed.count,
                "mean_ms": done.ns / count / 1e6,
                "mean_queue_ms": queue.ns / max(1, queue.count) / 1e6,
                "last_inference_ms": each.last_inference or None,
            }
        )
    return rows


def on_disk(repository: Path | None, name: str) -> list[int] | None:
    """The versions that have a folder; None where this machine does not see the repository."""
    if repository is None:
        return None
    folders = (each.name for each in (repository / name).iterdir() if each.is_dir())
    return [int(folder) for folder in folders if folder.isdecimal() and int(folder)]


def policy_of(model: ModelStatus) -> str:
    """The version policy in words."""
    policy = model.served.config.version_policy
    if policy.HasField("all"):
        return "all"
    if policy.HasField("specific"):
        return f"only {numbers(policy.specific.versions)}"
    return f"latest {policy.latest.num_versions or 1}"


def tell_loaded(loaded: ModelStatus, as_json: bool) -> None:
    """Says which versions serve now."""
    if as_json:
        print_json(described(loaded))
    else:
        say(f"{loaded.name}: version {numbers(loaded.serving)} serves")


def show_answers(answers: list[Answer], as_json: bool) -> None:
    """A row for each request of a trial."""
    if as_json:
        fields = ("model", "version", "latency_ms", "responses", "outputs", "problem")
        print_json([{name: getattr(answer, name) for name in fields} for answer in answers])
        return
    table = new_table("model", "version", "latency", "answer")
    for each in answers:
        outputs = ", ".join(f"{name} {shape}" for name, shape in each.outputs.items())
        said = outputs if each.problem is None else f"failed: {each.problem.strip()}"
        table.add_row(each.model, str(each.version), f"{each.latency_ms:.0f} ms", said)
    print_table(table)


def new_table(*columns: str) -> Table:
    """A table that fits any width: long words are folded."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """To stdout."""
    Console(highlight=False, markup=False).print(table)


def print_json(value: object) -> None:
    """To stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """To stderr."""
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


def numbers(versions: Any) -> str:
    """`1, 2`."""
    return ", ".join(str(version) for version in versions)


def first_line(text: str) -> str:
    """What is said before a trace."""
    return text.strip().partition("\n")[0]
