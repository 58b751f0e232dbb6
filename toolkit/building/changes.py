"""Finds the files that a build would add, change or remove. Reads the repository only."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.backends import backend_files
from toolkit.building.states import State
from toolkit.building.tree import MANIFEST
from toolkit.fields.entry import SourcedEntry
from toolkit.repository.parts import model_config
from toolkit.repository.pbtxt import generate
from toolkit.repository.plan import ModelPlan, Plan
from toolkit.targets import Target


@dataclass(frozen=True, slots=True)
class Changes:
    """Paths below the repository; a folder ends with a slash. `unchanged` is a number."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int


def find_changes(plan: Plan, states: Mapping[str, State], output: Path) -> Changes:
    """Compares the plan with `output`. Configs that depend on weights which are not converted yet
    count as changed."""
    before = _manifest(output)
    added: list[str] = []
    changed: list[str] = []
    unchanged = 0
    for model in plan.models:
        if not any((output / folder).is_dir() for folder in model.folders):
            # a model that is new as a whole is one line, not hundreds
            added += [f"{folder}/" for folder in model.folders]
            continue
        state = states[model.name]
        same_weights = _same_weights(before, model, state)
        for file, content in _contents(plan.target, model, state):
            place = output / file
            if not place.exists():
                added.append(file)
            # weights are compared by the digest in the manifest: reading them takes minutes
            elif same_weights if content is None else place.read_bytes() == content:
                unchanged += 1
            else:
                changed.append(file)
    folders = {folder for model in plan.models for folder in model.folders}
    old = {folder for model in before.values() for folder in model.get("folders", ())}
    removed = [f"{folder}/" for folder in sorted(old - folders) if (output / folder).is_dir()]
    return Changes(tuple(added), tuple(changed), tuple(removed), unchanged)


def _contents(target: Target, model: ModelPlan, state: State) -> Iterator[tuple[str, bytes | None]]:
    """Each file with its bytes; None for weights, and for what only converted weights decide."""
    configs = _configs(target, model, state)
    code = {
        f"{step.name}/1/{place}": source
        for step in model.steps
        if step.backend
        for place, source in backend_files(step.backend).items()
    }
    texts = {
        f"{step.name}/1/{name}": text for step in model.steps for name, text in step.texts.items()
    }
    for file in model.files:
        if file in code:
            yield file, code[file].read_bytes()
        elif file in texts:
            yield file, texts[file].encode()
        elif file.endswith(".gitkeep"):
            yield file, b""
        else:
            yield file, configs.get(file)


def _configs(target: Target, model: ModelPlan, state: State) -> dict[str, bytes]:
    # made from wide facts, they are not what the build will write
    if isinstance(model.entry, SourcedEntry) and state.facts is None:
        return {}
    return {
        f"{each.name}/config.pbtxt": generate(model_config(each, target)).encode()
        for each in state.models
    }


def _same_weights(before: Mapping[str, Any], model: ModelPlan, state: State) -> bool:
    old = before.get(model.name, {})
    if not isinstance(model.entry, SourcedEntry):
        return True
    return state.fetched is not None and old.get("digest") == state.fetched.digest


def _manifest(output: Path) -> Mapping[str, Any]:
    """The models that the repository's manifest names; none where there is no valid one."""
    try:
        models = json.loads((output / MANIFEST).read_text())["models"]
    # a damaged manifest must not prevent the build that would replace it
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return models if isinstance(models, dict) else {}
