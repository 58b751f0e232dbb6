"""The committed model_repository/ is what models.yaml gives, byte for byte."""

from tests.toolkit.conftest import ROOT
from toolkit.building import Built


def test_building_the_default_catalogue_gives_the_committed_files(
    default_repository: Built,
) -> None:
    for model in default_repository.plan.models:
        weights = {place for step in model.steps for place in step.weights}
        for file in (*model.files, "repository.json"):
            if file not in weights:
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
