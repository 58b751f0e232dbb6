"""What can be refused before anything is downloaded or converted is refused then, all of it."""

from pathlib import Path

import pytest

from tests.support.checkpoint import save_checkpoint
from toolkit.building.early import check_early, load_for_build
from toolkit.errors import BuildError, SpecError
from toolkit.finding import Finding
from toolkit.repository.plan import make_plan
from toolkit.spec import load
from toolkit.targets import find_target

HEAD = "version: 1\nmodels:\n"
FAR = "{kind: embedding, source: hf:org/far}"
JOIN = """\
  both:
    kind: ensemble
    inputs: {text: {type: STRING, dims: [1]}}
    outputs: {v: {type: FP16, dims: [7]}}
    max_batch_size: 8
    steps:
      - {model: far.tokenize, inputs: {text: text}, outputs: {input_ids: a, attention_mask: b}}
      - {model: far.encoder, inputs: {input_ids: a, attention_mask: b}, outputs: {embedding: v}}
"""


@pytest.fixture
def folder(tmp_path: Path, own_home: Path) -> Path:
    save_checkpoint(tmp_path / "weights")
    (tmp_path / "some.gguf").write_bytes(b"GGUF")
    (tmp_path / "empty").mkdir()
    return tmp_path


def refused(folder: Path, models: str) -> list[Finding]:
    file = folder / "models.yaml"
    file.write_text(HEAD + models)
    spec, target = load(file), find_target("embedded")
    with pytest.raises(SpecError) as caught:
        check_early(spec, make_plan(spec.for_target(target), target, spec.file))
    return caught.value.findings


def test_all_models_are_reported_with_their_lines(folder: Path, own_home: Path) -> None:
    found = refused(
        folder,
        "  long: {kind: llm, source: path:weights, context_length: 1000000}\n"
        "  gguf: {kind: embedding, source: path:some.gguf}\n"
        "  rank: {kind: rerank, source: path:empty}\n"
        "  draw: {kind: diffusion, source: path:weights}\n"
        "  mine: {kind: python, source: path:empty, inputs: {x: {type: FP32, dims: [1]}},"
        " outputs: {y: {type: FP32, dims: [1]}}}\n"
        f"  far: {FAR}\n{JOIN}",
    )
    assert [(each.place.line, each.place.field.split(".", 2)[1]) for each in found] == [
        (3, "long"),
        (4, "gguf"),
        (5, "rank"),
        (6, "draw"),
        (7, "mine"),
        (16, "both"),
    ]
    texts = [each.text for each in found]
    assert "1000000 exceeds the model's maximum of 512 tokens" in texts[0]
    assert "the weights are a GGUF file" in texts[1]
    assert "has no model.py" in texts[4]
    assert "FP16" in texts[5]
    assert all(each.fix for each in found)
    assert not own_home.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("tensor_parallel_size", "7"), ("engram_config", "{}"), ("quantization", "awq")],
)
def test_engine_arguments_that_do_not_fit_the_weights_are_reported(
    folder: Path, name: str, value: str
) -> None:
    arguments = f"{{{name}: {value}}}"
    entry = f"{{kind: llm, source: path:weights, context_length: 64, engine_args: {arguments}}}"
    (told,) = refused(folder, f"  m: {entry}\n")
    assert told.place.field == f"models.m.engine_args.{name}"


def test_tensors_of_models_that_are_not_here_have_names_and_types(folder: Path) -> None:
    right = JOIN.replace("FP16, dims: [7]", "FP32, dims: [7]")
    file = folder / "models.yaml"
    file.write_text(f"{HEAD}  far: {FAR}\n{right}")
    spec, target = load(file), find_target("embedded")
    check_early(spec, make_plan(spec.for_target(target), target, spec.file))
    (found,) = refused(folder, f"  far: {FAR}\n{right.replace('embedding: v', 'vector: v')}")
    assert "'far.encoder' has no output 'vector'; it has embedding" in found.text


def test_only_a_wrong_spec_is_a_spec_error(folder: Path) -> None:
    file = folder / "models.yaml"
    file.write_text(f"{HEAD}  gguf: {{kind: embedding, source: path:some.gguf}}\n")
    spec, target = load(file), find_target("embedded")
    with pytest.raises(BuildError) as caught:
        check_early(spec, make_plan(spec.for_target(target), target, spec.file))
    assert caught.value.exit_code == 1


def test_errors_of_fields_do_not_hide_those_of_weights(folder: Path, own_home: Path) -> None:
    """Entries without an error of their own are checked as far as a build would."""
    file = folder / "models.yaml"
    file.write_text(
        f"{HEAD}  chat: {{kind: llm, source: path:weights, context_length: 16, max_tokens: 3}}\n"
        "  long: {kind: llm, source: path:weights, context_length: 1000000}\n"
        "  long2: {kind: llm, source: path:weights, context_length: 1000000, top: 1}\n"
        "  gguf: {kind: embedding, source: path:some.gguf}\n"
        f"  far: {FAR}\n{JOIN}"
    )
    with pytest.raises(SpecError) as caught:
        load_for_build(file, find_target("embedded"))
    found = caught.value.findings
    fields = ["chat.max_tokens", "long.context_length", "long2.top", "gguf.kind"]
    assert [each.place.field for each in found] == [f"models.{field}" for field in fields]
    assert [each.place.line for each in found] == [3, 4, 5, 6]
    assert caught.value.exit_code == 2


def test_a_valid_file_is_returned_as_it_is(folder: Path, own_home: Path) -> None:
    file = folder / "models.yaml"
    file.write_text(f"{HEAD}  far: {FAR}\n")
    assert list(load_for_build(file, find_target("embedded")).models) == ["far"]
