"""How `toolkit models` describes models: as rows of a table, and as JSON."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from toolkit.serve.canary import Answer
    from toolkit.serve.control import Control, ModelStatus


def described(model: "ModelStatus") -> dict[str, Any]:
    """A model as JSON."""
    from toolkit.serve.control import steps_of

    served = model.served
    return {
        "model": model.name,
        "kind": served.kind or None,
        "serving": model.serving,
        "state": state(model),
        "aliases": served.aliases,
        "steps": steps_of(model.config),
        "step_of": list(model.step_of),
        "versions": [
            {"version": each.number, "state": each.state, "reason": each.reason}
            for each in model.versions
        ],
    }


def state(model: "ModelStatus") -> str:
    """`ready`, `not loaded`, `loading`, or why it failed."""
    if model.serving:
        failed = [each for each in model.versions if each.reason not in ("", "unloaded")]
        if not failed:
            return "ready"
        return f"ready; version {failed[-1].number} failed: {first_line(failed[-1].reason)}"
    for version in model.versions:
        if version.state in ("LOADING", "UNLOADING"):
            return version.state.lower()
        # Triton writes "unloaded" as the reason of an orderly unload
        if version.reason not in ("", "unloaded"):
            return f"failed: {first_line(version.reason)}"
    return "not loaded"


def statistics_of(control: "Control", model: "ModelStatus") -> list[dict[str, Any]]:
    """What each loaded version has done since it was loaded.

    Triton times a model that streams only until it has taken the request, so its mean is None.
    """
    config, name, rows = model.config, model.name, []
    is_timed = not (config is not None and config.model_transaction_policy.decoupled)
    for each in control.statistics(name):
        done, failed = each.inference_stats.success, each.inference_stats.fail
        queue, count = each.inference_stats.queue, max(1, done.count)
        rows.append(
            {
                "model": name,
                "version": int(each.version),
                "requests": done.count + failed.count,
                "failed": failed.count,
                "mean_ms": done.ns / count / 1e6 if is_timed else None,
                "mean_queue_ms": queue.ns / max(1, queue.count) / 1e6,
                "last_inference_ms": each.last_inference or None,
            }
        )
    return rows


def on_disk(repository: Path | None, name: str) -> list[int] | None:
    """The versions that have a folder; None where the repository is on another machine."""
    if repository is None:
        return None
    folders = (each.name for each in (repository / name).iterdir() if each.is_dir())
    # `isdecimal`: `isdigit` accepts ², which int() does not
    return [int(folder) for folder in folders if folder.isdecimal() and int(folder)]


def policy_of(model: "ModelStatus") -> str:
    """The version policy in words."""
    policy = model.served.config.version_policy
    if policy.HasField("all"):
        return "all"
    if policy.HasField("specific"):
        return f"only {numbers(policy.specific.versions)}"
    return f"latest {policy.latest.num_versions or 1}"


def show_loaded(loaded: "ModelStatus", as_json: bool) -> None:
    """Prints which versions are served now."""
    if as_json:
        print_json(described(loaded))
    else:
        say(f"{loaded.name}: serving version {numbers(loaded.serving)}")


def show_answers(answers: list["Answer"], as_json: bool) -> None:
    """Prints a row for each request of a canary."""
    if as_json:
        fields = ("model", "version", "latency_ms", "responses", "outputs", "problem", "text")
        print_json([{name: getattr(answer, name) for name in fields} for answer in answers])
        return
    rows = []
    for each in answers:
        outputs = ", ".join(f"{name} {shape}" for name, shape in each.outputs.items())
        answer = outputs if each.text is None else json.dumps(each.text, ensure_ascii=False)
        if each.problem is not None:
            answer = f"failed: {each.problem.strip()}"
        rows.append((each.model, str(each.version), f"{each.latency_ms:.0f} ms", answer))
    print_table(("model", "version", "latency", "answer"), rows)


def numbers(versions: Any) -> str:
    """`1, 2`."""
    return ", ".join(str(version) for version in versions)


def first_line(text: str) -> str:
    """The message before a traceback."""
    return text.strip().partition("\n")[0]
