"""Writes a planned repository into an empty folder. Knows nothing of what stood there before.

Configs and code are written; weights are hard links into the cache, or copies without links.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import python_backends
import toolkit
from toolkit.building.weights import Prepared
from toolkit.repository.configs import CONTRACT, model_configs
from toolkit.repository.pbtxt import generate
from toolkit.repository.plan import ModelPlan, Plan, StepPlan

MANIFEST = "repository.json"


def write_tree(plan: Plan, prepared: Mapping[str, Prepared], root: Path) -> None:
    """Writes all models of `plan` below `root`. Raises ConvertError when an entry asks too much."""
    for model in plan.models:
        _write_model(plan, model, prepared[model.name], root)
    manifest = json.dumps(_manifest(plan, prepared), indent=2, ensure_ascii=False)
    (root / MANIFEST).write_text(f"{manifest}\n", encoding="utf-8")


def _write_model(plan: Plan, model: ModelPlan, weights: Prepared, root: Path) -> None:
    configs = model_configs(model.name, model.entry, weights.facts, weights.digest, plan.target)
    for config in configs:
        folder = root / config.name
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text(generate(config), encoding="utf-8")
    (root / model.name / "1" / ".gitkeep").touch()
    for step in model.steps:
        version = root / step.name / "1"
        _copy_code(step, version)
        _link(weights.folder / step.step, version)


def _copy_code(step: StepPlan, version: Path) -> None:
    for place, source in python_backends.files(step.backend).items():
        target = version / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())


def _link(source: Path, target: Path) -> None:
    """The tree below `source`, into `target`."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(exist_ok=True)
            continue
        try:
            os.link(path, place)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(path, place)


def _manifest(plan: Plan, prepared: Mapping[str, Prepared]) -> dict[str, object]:
    """Stable bytes: no dates, no paths of this machine."""
    return {
        "target": plan.target.name,
        "triton": plan.target.triton,
        "contract": CONTRACT,
        "generator": f"triton-toolkit {toolkit.__version__}",
        "models": {
            model.name: {
                "kind": model.entry.kind,
                "source": str(model.entry.origin),
                "digest": prepared[model.name].digest,
                "folders": [model.name, *(step.name for step in model.steps)],
            }
            for model in plan.models
        },
    }
