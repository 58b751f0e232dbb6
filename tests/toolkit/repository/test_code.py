"""Copies of python_backends in a repository: of one release, of another, and of two at once."""

import ast
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.backends import _imported, backend_files, code_digest
from toolkit.errors import RepositoryError
from toolkit.repository.code import broken_imports, outdated_steps
from toolkit.serve.models import check_code, check_target
from toolkit.verifier import verify_repository


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The version folder of a step `m.decode` with the code of this release, in a repository."""
    folder = tmp_path / "m.decode" / "1"
    for place, source in backend_files("decode").items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(source.read_bytes())
    (folder.parent / "config.pbtxt").write_text('backend: "python"\n')
    record(tmp_path, code_digest("decode"))
    return folder


def record(repository: Path, digest: str) -> None:
    models = {"m": {"code": {"m.decode": digest}}}
    (repository / "repository.json").write_text(json.dumps({"spec": "my.yaml", "models": models}))


def rules(repository: Path) -> set[str]:
    return {each.code for each in verify_repository(repository, "embedded")}


def test_the_code_of_this_release_passes(version: Path) -> None:
    root = version.parents[1]
    assert not broken_imports(version)
    assert not outdated_steps(root)
    assert not check_code(root)
    assert not {"toolkit-code", "toolkit-release"} & rules(root)


def test_a_model_newer_than_its_modules_is_refused_with_the_command(version: Path) -> None:
    shared = version / "python_backends" / "triton.py"
    shared.write_text(shared.read_text().replace("def end_process", "def end_it"))
    root = version.parents[1]
    with pytest.raises(
        RepositoryError, match=r"m\.decode model\.py imports 'end_process'"
    ) as refusal:
        check_code(root)
    assert refusal.value.hint == f"toolkit build-repo my.yaml --output {root}"
    assert "toolkit-code" in rules(root)


def test_a_module_that_is_missing_is_named(version: Path) -> None:
    (version / "python_backends" / "triton.py").unlink()
    assert "model.py imports python_backends.triton, which does not exist" in broken_imports(
        version
    )


def test_code_that_a_user_changed_is_served(version: Path) -> None:
    model = version / "model.py"
    model.write_text(f"{model.read_text()}\nprint('here')\nfrom python_backends import triton\n")
    assert not check_code(version.parents[1])


def test_a_whole_repository_of_another_release_is_served_with_a_note(version: Path) -> None:
    root = version.parents[1]
    record(root, "sha256:0")
    assert outdated_steps(root) == ["m.decode"]
    assert "built by another release" in check_code(root)
    assert "toolkit-release" in rules(root)


def test_each_file_of_this_release_is_parsed_once(
    version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = version.parents[1]
    steps = [f"m.decode{number}" for number in range(5)]
    for step in steps:
        shutil.copytree(version.parent, root / step)
    code = dict.fromkeys(["m.decode", *steps], code_digest("decode"))
    (root / "repository.json").write_text(
        json.dumps({"spec": "a", "models": {"m": {"code": code}}})
    )
    texts: list[object] = []

    def parse(source: object, *more: object) -> ast.Module:
        texts.append(source)
        return real(source, *more)

    real: Callable[..., ast.Module] = ast.parse
    code_digest.cache_clear()
    _imported.cache_clear()
    monkeypatch.setattr("toolkit.backends.ast.parse", parse)
    assert "toolkit-release" not in rules(root)
    own = [path.read_text() for path in backend_files("decode").values()]
    assert {texts.count(text) for text in own} == {1}


@pytest.mark.parametrize("content", [b"\xff\x00", b"{", b""])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "repository.json").write_bytes(content)
    assert not outdated_steps(tmp_path)
    with pytest.raises(RepositoryError, match=r"repository\.json cannot be read"):
        check_target(tmp_path, "embedded")
