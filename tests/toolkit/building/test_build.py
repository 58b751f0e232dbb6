"""A build replaces a repository as a whole, or leaves it as it is."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoint import NO_TENSORS, save_spec, tree
from toolkit.building import apply, build
from toolkit.errors import BuildError, RepositoryError
from toolkit.kinds import all_kinds
from toolkit.kinds.kind import Building
from toolkit.repository.pbtxt import read
from toolkit.spec import load
from toolkit.targets import find_target

EMBEDDED = find_target("embedded")
pytestmark = pytest.mark.usefixtures("own_home")


def build_at(folder: Path, *names: str, **options: int) -> Path:
    output = folder / "out" / "model_repository"
    build(load(save_spec(folder, *names, **options)), EMBEDDED, output)
    return output


def test_writes_models_code_weights_and_manifest(tmp_path: Path) -> None:
    output = build_at(tmp_path, "chat")
    files = tree(output)
    assert files["chat.engine/1/weights/model.safetensors"] == NO_TENSORS
    assert "chat.prompt/1/tokenizer/tokenizer.json" in files
    assert "chat.prompt/1/model.py" in files
    assert files["chat/1/.gitkeep"] == b""
    manifest = json.loads(files["repository.json"])
    assert manifest["target"] == "embedded"
    assert manifest["models"]["chat"]["folders"] == ["chat", "chat.prompt", "chat.engine"]
    public = read(output / "chat" / "config.pbtxt").parameters
    assert public["toolkit.aliases"].string_value == '["chat-alias"]'
    assert public["toolkit.capabilities"].string_value == '["chat", "completion", "tools"]'
    assert public["toolkit.digest"].string_value == manifest["models"]["chat"]["digest"]
    assert not any(str(tmp_path).encode() in content for content in files.values())


def test_two_language_models_stand_side_by_side(tmp_path: Path) -> None:
    output = build_at(tmp_path, "one", "two")
    assert {path.name for path in output.glob("*.engine")} == {"one.engine", "two.engine"}
    weights = [output / f"{name}.engine/1/weights/model.safetensors" for name in ("one", "two")]
    assert weights[0].samefile(weights[1])


def test_building_again_gives_the_same_bytes_and_keeps_links(tmp_path: Path) -> None:
    output = build_at(tmp_path, "chat")
    (output / ".environments").mkdir()
    (output / ".environments" / "onnx").symlink_to("/somewhere")
    before = tree(output)
    build_at(tmp_path, "chat")
    assert tree(output) == before
    assert [path.name for path in output.parent.iterdir()] == ["model_repository"]


def test_models_that_left_the_spec_leave_the_repository(tmp_path: Path) -> None:
    build_at(tmp_path, "one", "two")
    output = build_at(tmp_path, "two")
    assert not list(output.glob("one*"))


def test_a_failing_build_changes_nothing(tmp_path: Path) -> None:
    output = build_at(tmp_path, "chat")
    before = tree(output)
    with pytest.raises(BuildError, match="maximum of 512") as caught:
        build_at(tmp_path, "chat", "other", context_length=4096)
    assert [str(each).partition(": ")[2] for each in caught.value.findings] == [
        f"models.{name}.context_length: 4096 exceeds the model's maximum of 512 tokens"
        for name in ("chat", "other")
    ]
    assert tree(output) == before
    assert [path.name for path in output.parent.iterdir()] == ["model_repository"]


def test_a_failing_conversion_changes_nothing(tmp_path: Path, own_home: Path) -> None:
    output = build_at(tmp_path, "chat")
    before = tree(output)
    (tmp_path / "weights" / "model.safetensors").unlink()
    with pytest.raises(
        BuildError, match=r"yaml:5: models\.chat\.source: .* has no safetensors weights"
    ):
        build_at(tmp_path, "chat")
    assert tree(output) == before
    assert len(list((own_home / "weights").iterdir())) == 1


def test_changed_weights_are_refused_when_a_digest_is_given(tmp_path: Path) -> None:
    file = save_spec(tmp_path, "chat")
    file.write_text(file.read_text() + f"    digest: sha256:{'0' * 64}\n")
    with pytest.raises(BuildError, match=r"chat\.digest: the weights have the digest sha256:"):
        build(load(file), EMBEDDED, tmp_path / "out")


def test_weights_are_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_at(tmp_path, "chat")
    monkeypatch.setattr("toolkit.convert.kept.load", lambda _: pytest.fail("converted again"))
    build_at(tmp_path, "renamed")


def test_a_folder_that_no_build_wrote_is_not_replaced(tmp_path: Path) -> None:
    output = tmp_path / "out" / "model_repository"
    (output / "precious").mkdir(parents=True)
    with pytest.raises(RepositoryError, match="contains precious, which a build did not write"):
        build_at(tmp_path, "chat")
    assert (output / "precious").is_dir()


def test_a_model_put_beside_the_generated_ones_is_not_lost(tmp_path: Path) -> None:
    output = build_at(tmp_path, "chat")
    (output / "mine").mkdir()
    with pytest.raises(RepositoryError, match="contains mine"):
        build_at(tmp_path, "chat")


def test_a_build_with_known_weights_makes_each_model_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = build_at(tmp_path, "chat")
    before, made = tree(output), list[str]()

    def count(self: object, entry: Any, facts: Any, building: Building) -> Any:
        made.append(building.name)
        return original(self, entry, facts, building)

    kind = type(all_kinds()["llm"])
    original = kind.models
    monkeypatch.setattr(kind, "models", count)
    assert tree(build_at(tmp_path, "chat")) == before
    assert made == ["chat"]


def test_a_wrong_repository_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = build_at(tmp_path, "chat")
    before = tree(output)

    def write_nonsense(root: Path) -> None:
        (root / "other.engine" / "config.pbtxt").write_text("nmae: 3")

    original = apply.write_tree
    monkeypatch.setattr(
        apply, "write_tree", lambda *given: (original(*given), write_nonsense(given[-1]))
    )
    with pytest.raises(RepositoryError, match="unknown-field"):
        build_at(tmp_path, "other")
    assert tree(output) == before


HANG = """
import sys, time
from pathlib import Path
from toolkit.building.apply import build
from toolkit.spec import load
from toolkit.targets import find_target
import toolkit.building.apply as module
def hang(*_):
    print("ready", flush=True)
    time.sleep(600)
module.verify_repository = hang
build(load(Path(sys.argv[1])), find_target("embedded"), Path(sys.argv[2]))
"""


def test_a_killed_build_leaves_the_repository_and_the_next_one_clears_up(tmp_path: Path) -> None:
    output = build_at(tmp_path, "chat")
    before = tree(output)
    spec = save_spec(tmp_path, "other")
    with subprocess.Popen(
        [sys.executable, "-c", HANG, str(spec), str(output)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(RepositoryError, match="another build"):
            build_at(tmp_path, "chat")
        process.send_signal(signal.SIGKILL)
    assert tree(output) == before
    assert len(list(output.parent.iterdir())) == 2
    build_at(tmp_path, "other")
    assert [path.name for path in output.parent.iterdir()] == ["model_repository"]
    assert (output / "other").is_dir()
