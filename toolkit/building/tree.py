"""Writes a planned repository into an empty folder. It does not know what was there before.

Configs and code are written; weights are hard links into the cache, or copies without links.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import toolkit
from toolkit import contract, kinds
from toolkit.backends import backend_files, code_digest
from toolkit.building.weights import Prepared
from toolkit.fields.entry import SourcedEntry
from toolkit.kinds.kind import KEEP, StepPlan
from toolkit.kinds.parts import Model
from toolkit.repository.parts import model_config
from toolkit.repository.pbtxt import generate
from toolkit.repository.plan import ModelPlan
from toolkit.repository.warmup import warmup_files
from toolkit.targets import Target

MANIFEST = "repository.json"


@dataclass(frozen=True, slots=True)
class Ready:
    """An entry with everything that is written for it. `models` are the public model and its steps;
    `weights` is None for a kind without."""

    plan: ModelPlan
    models: Sequence[Model]
    weights: Prepared | None


def write_tree(target: Target, file: str, ready: Sequence[Ready], root: Path) -> None:
    """Writes the repository of the models.yaml `file` below `root`."""
    for each in ready:
        _write_models(each.models, target, root)
        _write_files(each.plan, each.weights, root)
    manifest = json.dumps(_manifest(target, file, ready), indent=2, ensure_ascii=False)
    (root / MANIFEST).write_text(f"{manifest}\n", encoding="utf-8")


def _write_models(models: Sequence[Model], target: Target, root: Path) -> None:
    for made in models:
        folder = root / made.name
        (folder / "1").mkdir(parents=True)
        config = model_config(made, target)
        (folder / "config.pbtxt").write_text(generate(config), encoding="utf-8")
        _write_texts(folder / "warmup", warmup_files(made))


def _write_files(model: ModelPlan, weights: Prepared | None, root: Path) -> None:
    kind = kinds.of(model.entry)
    if KEEP in kind.code_files:
        for name in model.public:
            (root / name / "1" / KEEP).touch()
    _write_texts(root / model.name, kind.files(model.entry))
    if weights is not None:
        _write_weights(model, weights, root)


def _write_weights(model: ModelPlan, weights: Prepared, root: Path) -> None:
    if not model.steps:
        _link(weights.folder / "versions", root / model.name)
    for step in model.steps:
        version = root / step.name / "1"
        _copy_code(step, version)
        _link(weights.folder / (step.source or step.step), version)
        for file, text in step.texts.items():
            (version / file).write_text(text, encoding="utf-8")
        if step.step == "engine":
            for name, adapter in weights.adapters.items():
                (version / "adapters" / name).mkdir(parents=True)
                _link(adapter, version / "adapters" / name)
        if step.step == "prompt" and weights.chat_template is not None:
            template = version / "tokenizer" / "chat_template.jinja"
            template.unlink(missing_ok=True)  # a link into the cache
            template.write_text(weights.chat_template, encoding="utf-8")


def _write_texts(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def _copy_code(step: StepPlan, version: Path) -> None:
    for place, source in backend_files(step.backend).items() if step.backend else ():
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
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, place)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(path, place)


def _manifest(target: Target, file: str, ready: Sequence[Ready]) -> dict[str, object]:
    """Stable bytes: no dates, no paths of this machine."""
    return {
        "target": target.name,
        "triton": target.triton,
        "release": target.release,
        "spec": file,
        "contract": contract.VERSION,
        "generator": f"triton-toolkit {toolkit.__version__}",
        "models": {
            each.plan.name: {
                "kind": each.plan.entry.kind,
                **_origin(each),
                "folders": list(each.plan.folders),
                **_code(each.plan),
            }
            for each in ready
        },
    }


def _code(model: ModelPlan) -> dict[str, object]:
    """One digest for each step's copy of python_backends, which stands for its files in git."""
    backends = {step.name: step.backend for step in model.steps if step.backend}
    code = {name: code_digest(backend) for name, backend in backends.items()}
    return {"code": code} if code else {}


def _origin(ready: Ready) -> dict[str, object]:
    entry = ready.plan.entry
    if ready.weights is None or not isinstance(entry, SourcedEntry):
        return {}
    return {"source": str(entry.origin), "digest": ready.weights.digest}
