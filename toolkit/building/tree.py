"""Writes a planned repository into an empty folder. Knows nothing of what stood there before.

Configs and code are written; weights are hard links into the cache, or copies without links.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import toolkit
from toolkit.backends import backend_files
from toolkit.building.weights import Prepared
from toolkit.model_config import ModelConfig
from toolkit.repository.configs import CONTRACT, ensemble_configs, model_configs
from toolkit.repository.pbtxt import generate
from toolkit.repository.plan import ModelPlan, Plan, StepPlan
from toolkit.repository.warmup import warmup_files, warmup_texts
from toolkit.spec import EnsembleEntry, PythonEntry

MANIFEST = "repository.json"


def write_tree(plan: Plan, prepared: Mapping[str, Prepared], root: Path) -> None:
    """Writes all models of `plan` below `root`. Raises ConvertError when an entry asks too much."""
    for model in plan.models:
        _write_model(plan, model, prepared.get(model.name), root)
    manifest = json.dumps(_manifest(plan, prepared), indent=2, ensure_ascii=False)
    (root / MANIFEST).write_text(f"{manifest}\n", encoding="utf-8")


def _write_model(plan: Plan, model: ModelPlan, weights: Prepared | None, root: Path) -> None:
    entry = model.entry
    if isinstance(entry, EnsembleEntry):
        configs = ensemble_configs(model.name, entry, plan.entries)
    else:
        assert weights is not None
        configs = model_configs(model.name, entry, weights.facts, weights.digest, plan.target)
    for config in configs:
        folder = root / config.name
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text(generate(config), encoding="utf-8")
        _write_warmups(config, folder / "warmup", warmup_texts(entry))
    for name in (model.name, *model.adapters):
        (root / name / "1" / ".gitkeep").touch()
    if weights is not None:
        _write_weights(model, weights, root)


def _write_weights(model: ModelPlan, weights: Prepared, root: Path) -> None:
    if isinstance(model.entry, PythonEntry):
        (root / model.name / "1" / ".gitkeep").unlink()
        _link(weights.folder / "versions", root / model.name)
        if isinstance(model.entry.packages, tuple):
            lines = "".join(f"{line}\n" for line in sorted(model.entry.packages))
            (root / model.name / "requirements.txt").write_text(lines, encoding="utf-8")
    for step in model.steps:
        version = root / step.name / "1"
        _copy_code(step, version)
        _link(weights.folder / step.step, version)
        if step.step == "engine":
            for name, adapter in weights.adapters.items():
                (version / "adapters" / name).mkdir(parents=True)
                _link(adapter, version / "adapters" / name)
        if step.step == "prompt" and weights.chat_template is not None:
            template = version / "tokenizer" / "chat_template.jinja"
            template.unlink(missing_ok=True)  # a link into the cache
            template.write_text(weights.chat_template, encoding="utf-8")


def _write_warmups(config: ModelConfig, folder: Path, texts: Sequence[str]) -> None:
    """The files that warm-up requests read: they are named by what is in them."""
    for name, content in warmup_files(config, texts).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


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


def _manifest(plan: Plan, prepared: Mapping[str, Prepared]) -> dict[str, object]:
    """Stable bytes: no dates, no paths of this machine."""
    return {
        "target": plan.target.name,
        "triton": plan.target.triton,
        "release": plan.target.release,
        "catalogue": plan.file,
        "contract": CONTRACT,
        "generator": f"triton-toolkit {toolkit.__version__}",
        "models": {
            model.name: {
                "kind": model.entry.kind,
                **_origin(model, prepared),
                "folders": list(model.folders),
                **_code(model),
            }
            for model in plan.models
        },
    }


def _code(model: ModelPlan) -> dict[str, object]:
    """One digest for each step's copy of python_backends, which stands for its files in git."""
    backends = {step.name: step.backend for step in model.steps if step.backend}
    code = {name: _code_digest(backend) for name, backend in backends.items()}
    return {"code": code} if code else {}


def _code_digest(backend: str) -> str:
    """SHA-256 over path, length and bytes of each file, in order."""
    total = hashlib.sha256()
    for place, source in sorted(backend_files(backend).items()):
        content = source.read_bytes()
        total.update(f"{place}\0{len(content)}\0".encode() + content)
    return f"sha256:{total.hexdigest()}"


def _origin(model: ModelPlan, prepared: Mapping[str, Prepared]) -> dict[str, object]:
    if isinstance(model.entry, EnsembleEntry):
        return {}
    return {"source": str(model.entry.origin), "digest": prepared[model.name].digest}
