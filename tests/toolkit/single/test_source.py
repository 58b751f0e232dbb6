"""What people type to name a model, and what is refused with a hint."""

from pathlib import Path

import pytest

from toolkit.errors import SourceError
from toolkit.single.source import is_repository, names_source, read_source


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("weights/config.json", "one/model.gguf", "two/a.gguf", "two/b.gguf", "file.gguf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "repository" / "m").mkdir(parents=True)
    (tmp_path / "repository" / "m" / "config.pbtxt").touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf:Qwen/Qwen3-0.6B", "hf:Qwen/Qwen3-0.6B"),
        ("hf:Qwen/Qwen3-0.6B@main", "hf:Qwen/Qwen3-0.6B@main"),
        ("https://huggingface.co/Qwen/Qwen3-0.6B", "hf:Qwen/Qwen3-0.6B"),
        ("hf:org/name/model.Q8_0.gguf", "gguf:hf:org/name/model.Q8_0.gguf"),
        ("Qwen3-0.6b", "hf:Qwen/Qwen3-0.6B"),
        ("package:a==1/b.gguf", "package:a==1/b.gguf"),
        ("weights", "path:FILES/weights"),
        ("path:weights", "path:FILES/weights"),
        ("file.gguf", "gguf:FILES/file.gguf"),
        ("./one", "gguf:FILES/one/model.gguf"),
        ("gguf:file.gguf", "gguf:FILES/file.gguf"),
    ],
)
def test_a_source(files: Path, text: str, source: str) -> None:
    assert names_source(text)
    assert str(read_source(text)) == source.replace("FILES", str(files))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("Qwen/Qwen3-0.6B", "neither a file nor a known model", "hf:Qwen/Qwen3-0.6B"),
        ("qwen3-06b", "neither a file nor a known model", "qwen3-0.6b"),
        ("gone.gguf", " does not exist", "check the path"),
        ("two", "several models: a.gguf, b.gguf", "name one of the files"),
        ("empty", "does not contain weights or a model repository", "build-repo"),
        ("hf:Qwen", "not a Hub source", "hf:ORG/NAME"),
    ],
)
def test_what_is_not_a_source_says_what_would_be(
    files: Path, text: str, message: str, hint: str
) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_source(text)
    assert hint in (caught.value.hint or "")


def test_a_repository_is_not_a_source(files: Path) -> None:
    assert is_repository("repository")
    assert not names_source("repository")
    assert not names_source("model_repository")
    (files / "qwen3-0.6b").mkdir()
    assert not names_source("qwen3-0.6b")
