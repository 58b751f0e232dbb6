"""The tree of a config's text: the same content as protobuf reads, with true positions."""

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig

from toolkit.verifier.position import find_entry
from toolkit.verifier.tokens import TextError, tokenize
from toolkit.verifier.tree import Entry, parse
from toolkit.verifier.values import misfits

_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
_DIMS = st.lists(st.integers(-1, 2**40), max_size=4)


@st.composite
def _configs(draw: st.DrawFn) -> ModelConfig:
    config = ModelConfig(name=draw(_NAMES), max_batch_size=draw(st.integers(0, 99)))
    for _ in range(draw(st.integers(0, 3))):
        tensor = config.input.add(name=draw(_NAMES), data_type=draw(st.integers(0, 14)))
        tensor.dims.extend(draw(_DIMS))
    for key in draw(st.lists(_NAMES, max_size=3)):
        config.parameters[key].string_value = draw(_NAMES)
    return config


@given(_configs())
@settings(max_examples=60, deadline=None)
def test_the_tree_holds_what_protobuf_wrote(config: ModelConfig) -> None:
    tree = parse(text_format.MessageToString(config))
    assert len(tree.named("input")) == len(config.input)
    for entry, tensor in zip(tree.named("input"), config.input, strict=True):
        assert [int(each.text()) for each in entry.named("dims")] == list(tensor.dims)
    assert len(tree.named("parameters")) == len(config.parameters)


def _refusal(text: str) -> TextError | None:
    try:
        parse(text)
    except TextError as error:
        return error
    return None


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused_with_a_place(text: str) -> None:
    error = _refusal(text)
    assert error is None or 1 <= error.token.line <= text.count("\n") + 1
    assert error is None or error.token.column >= 1


def test_tokens_stand_where_they_say() -> None:
    text = 'a: 1 # x\n  b { c: "d"\n}\n'
    lines = text.split("\n")
    for token in tokenize(text):
        if token.kind != "end":
            assert lines[token.line - 1][token.column - 1 :].startswith(token.text)


def _find(text: str, path: str) -> tuple[Entry, bool]:
    return find_entry(parse(text), path)


def test_paths_reach_lists_messages_and_map_keys() -> None:
    text = 'input [ { dims: [ 1, 2 ] }, { dims: 3 } ] m { key: "a" value: "b" } m { key: "c" }'
    assert _find(text, "input[0].dims[1]")[0].text() == "2"
    assert _find(text, "input[1].dims")[0].text() == "3"
    assert _find(text, 'm["a"].value')[0].text() == "b"
    assert _find(text, 'm["c"].key')[0].text() == "c"


def test_a_path_that_is_not_written_gives_what_is_around_it() -> None:
    entry, exact = _find("input { name: 'x' }", "input[0].dims")
    assert (entry.name, exact) == ("input", False)


@pytest.mark.parametrize(
    "text", ["a: [", "a {", "a: }", "a: [1,]", "a", "1: 2", 'a: "b', "\ufeffa: 1"]
)
def test_what_no_parser_takes_is_refused(text: str) -> None:
    with pytest.raises(TextError):
        parse(text)


@pytest.mark.parametrize("text", ["a:\nb: 1", "a: b { }", "m { a:\nb [ 1 ] }"])
def test_a_missing_value_is_told_at_its_name(text: str) -> None:
    with pytest.raises(TextError, match="value of 'a' is missing") as told:
        parse(text)
    assert told.value.token.text == "a"


@pytest.mark.parametrize(
    ("text", "path", "fix"),
    [
        ("input { data_type: FP32 }", "input[0].data_type", "TYPE_FP32"),
        ("input { data_type: TYPE_FLOAT }", "input[0].data_type", "TYPE_FP32"),
        ('input { data_type: "TYPE_FP32" }', "input[0].data_type", "without quotes"),
        ('max_batch_size: "8"', "max_batch_size", "write max_batch_size: 8"),
        ("max_batch_size: 1.5", "max_batch_size", "1"),
        ("max_batch_size: 4294967296", "max_batch_size", "range"),
        ("backend: python", "backend", 'backend: "python"'),
        ("backend { }", "backend", "backend: …"),
        ('parameters { key: "a" value: "b" }', "parameters[0].value", 'string_value: "b"'),
        ("response_cache { enable: yes }", "response_cache.enable", "true or false"),
        ('response_cache { enable: "true" }', "response_cache.enable", 'not "true"'),
    ],
)
def test_values_that_do_not_fit_are_named(text: str, path: str, fix: str) -> None:
    (found,) = misfits(parse(text), ModelConfig.DESCRIPTOR)
    assert found.path == path
    assert fix in f"{found.text} {found.fix}"


@given(_configs())
@settings(max_examples=60, deadline=None)
def test_what_protobuf_wrote_fits(config: ModelConfig) -> None:
    assert not list(misfits(parse(text_format.MessageToString(config)), ModelConfig.DESCRIPTOR))
