"""`--fix`: fixes what needs no decision, changes nothing else, and reports each change."""

from pathlib import Path

from tests.toolkit.verifier.conftest import Repository
from tests.toolkit.verifier.corpus.dsl import CODE, edit, ensemble, python, without
from toolkit.verifier import verify_repository
from toolkit.verifier.fix import apply_fixes, write_batch_size

_ENSEMBLE = ensemble("x:FP32:-1", "y:FP32:-1", "lib.f32 x=x > y=y")


def _fix(root: Path) -> list[str]:
    done = apply_fixes(root, verify_repository(root, "embedded"))
    assert verify_repository(root, "embedded") == []
    return done


def test_an_ensemble_gets_its_version_folder(repository: Repository) -> None:
    root = repository(without(_ENSEMBLE, "@/1/.gitkeep"))
    assert _fix(root) == ["model/1: created with a .gitkeep, so that git keeps it"]
    assert (root / "model" / "1" / ".gitkeep").exists()


def test_a_model_beside_its_version_folder_is_moved_into_one(repository: Repository) -> None:
    root = repository({**without(python(), "@/1/model.py"), "@/model.py": CODE})
    assert _fix(root) == ["model/model.py: moved to model/1/model.py"]


def test_a_name_becomes_the_folders_and_the_rest_stays(repository: Repository) -> None:
    root = repository(edit(python(), 'name: "@"', 'name : "other" # mine'))
    before = (root / "model" / "config.pbtxt").read_text()
    assert _fix(root) == ['model/config.pbtxt:1: changed "other" to "model"']
    assert (root / "model" / "config.pbtxt").read_text() == before.replace("other", "model")


def test_a_removed_line_does_not_move_the_next_fix(repository: Repository) -> None:
    files = edit(python(), 'name: "@"', 'platform: "onnxruntime_onnx"\nname: "other"')
    root = repository(files)
    before = (root / "model" / "config.pbtxt").read_text()
    apply_fixes(root, verify_repository(root, "embedded"))
    after = before.replace('platform: "onnxruntime_onnx"\n', "").replace("other", "model")
    assert (root / "model" / "config.pbtxt").read_text() == after


def test_a_config_under_another_name_is_renamed(repository: Repository) -> None:
    files = python()
    root = repository(
        {**without(files, "@/config.pbtxt"), "@/config.pbtx": files["@/config.pbtxt"]}
    )
    assert _fix(root) == ["model/config.pbtx: renamed to config.pbtxt"]


def test_a_version_that_is_not_written_becomes_the_newest(repository: Repository) -> None:
    root = repository(edit(_ENSEMBLE, "    model_version: -1\n", ""))
    (done,) = _fix(root)
    assert "model_version: -1" in done


def test_an_explicit_batch_size_is_written_once(repository: Repository) -> None:
    root = repository(edit(python(), "max_batch_size: 0\n", ""))
    (done,) = write_batch_size(root, ["model"])
    assert "max_batch_size: 0" in done
    lines = (root / "model" / "config.pbtxt").read_text().splitlines()
    assert lines[:3] == ['name: "model"', 'backend: "python"', "max_batch_size: 0"]
    assert write_batch_size(root, ["model"]) == []


def test_what_needs_a_choice_is_left_alone(repository: Repository) -> None:
    root = repository(python("x:FP32:0"))
    before = (root / "model" / "config.pbtxt").read_bytes()
    assert apply_fixes(root, verify_repository(root, "embedded")) == []
    assert (root / "model" / "config.pbtxt").read_bytes() == before
