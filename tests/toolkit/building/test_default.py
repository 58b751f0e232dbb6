"""The committed model_repository/ is what models.yaml gives, byte for byte."""

import hashlib
import json

from tests.support.processes import ROOT
from toolkit.building import Built


def test_building_the_default_models_gives_the_committed_files(
    default_repository: Built,
) -> None:
    for model in default_repository.plan.models:
        weights = {f"{step.name}/1/{file}" for step in model.steps for file in step.files}
        for file in (*model.files, "repository.json"):
            if file not in weights and "/python_backends/" not in file:  # repository.json has those
                built = (default_repository.output / file).read_bytes()
                assert built == (ROOT / "model_repository" / file).read_bytes(), file


def test_the_plan_names_every_file(default_repository: Built) -> None:
    planned = {file for model in default_repository.plan.models for file in model.files}
    folders = tuple(file for file in planned if file.endswith("/"))
    root = default_repository.output
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_file() and name != "repository.json" and not name.endswith(".onnx.data"):
            assert name in planned or name.startswith(folders), name


def test_the_manifest_has_a_digest_of_each_copy_of_python_backends(
    default_repository: Built,
) -> None:
    root = default_repository.output
    manifest = json.loads((root / "repository.json").read_text())
    for model in default_repository.plan.models:
        code = manifest["models"][model.name].get("code", {})
        assert list(code) == [step.name for step in model.steps if step.backend]
        for name, digest in code.items():
            version = root / name / "1"
            files = [version / "model.py", *(version / "python_backends").rglob("*.*")]
            total = hashlib.sha256()
            for file in sorted(files, key=lambda file: file.relative_to(version).as_posix()):
                content = file.read_bytes()
                place = file.relative_to(version).as_posix()
                total.update(f"{place}\0{len(content)}\0".encode() + content)
            assert digest == f"sha256:{total.hexdigest()}", name
