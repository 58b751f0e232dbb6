"""All errors of a models.yaml are reported together, each with its line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import SpecError
from toolkit.finding import Finding
from toolkit.kinds.embedding import EmbeddingEntry
from toolkit.kinds.llm.fields import LlmEntry
from toolkit.spec import Spec, load, parse
from toolkit.spec.document import MAX_NODES
from toolkit.targets import find_target

HEAD = "version: 1\nmodels:\n"
GOOD = "    kind: embedding\n    source: hf:org/name\n"


def findings(text: str, folder: Path = Path()) -> list[Finding]:
    with pytest.raises(SpecError) as caught:
        parse("models.yaml", text, folder)
    return caught.value.findings


def told(text: str) -> list[str]:
    return [str(finding) for finding in findings(text)]


def test_reads_the_default_models() -> None:
    spec = load(Path(__file__).parents[3] / "models.yaml")
    models = spec.models
    assert isinstance(models["smollm2-135m-instruct"], LlmEntry)
    assert isinstance(models["all-minilm-l6-v2"], EmbeddingEntry)
    assert models["all-minilm-l6-v2"].aliases == ("minilm",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "models.yaml:1: is empty"),
        ("- a\n", "models.yaml:1: is not a mapping"),
        ("models: {a: [}\n", "models.yaml:1: not valid YAML: while parsing a flow"),
        ("version: 1\n", "models.yaml:1: models: is missing"),
        ("version: 1\nmodels:\n", "models.yaml:2: models: must be a mapping"),
        ("version: 1\nmodels: {}\n", "models.yaml:2: models: is empty"),
        (HEAD.replace("1", "2") + f"  a:\n{GOOD}", "models.yaml:1: version: must be 1, not 2"),
        (HEAD + f"  a:\n{GOOD}tools: 3\n", "models.yaml:6: tools: is not a known field"),
        (
            HEAD + f"  a:\n{GOOD}    sauce: x\n",
            "models.yaml:6: models.a.sauce: is not a known field",
        ),
        (HEAD + "  a:\n    source: hf:o/n\n", "models.yaml:3: models.a.kind: is missing"),
        (
            HEAD + "  a:\n    kind: embeding\n",
            'models.yaml:4: models.a.kind: "embeding" is not a kind',
        ),
        (HEAD + "  a:\n    kind: llm\n    source: hf:o/n\n", "context_length: is missing"),
        (HEAD + f"  a/b:\n{GOOD}", 'models.yaml:3: models.a/b: "a/b" is not a valid name'),
        (HEAD + f"  ..:\n{GOOD}", "is not a valid name"),
        (HEAD + f"  .a:\n{GOOD}", "is not a valid name"),
        (HEAD + f"  {'x' * 97}:\n{GOOD}", "is not a valid name"),
        (HEAD + f"  repository.json:\n{GOOD}", "is the name of a file of the repository"),
        (
            HEAD + f"  a:\n{GOOD}  a.encoder:\n{GOOD}",
            "models.yaml:6: models.a.encoder: is the name",
        ),
        (
            HEAD + f"  a:\n{GOOD}  a:\n{GOOD}",
            "models.yaml:6: models.a: the key appears twice; first",
        ),
        (HEAD + f"  7:\n{GOOD}", "models.yaml:3: models: key '7' is not text"),
        (HEAD + f"  a:\n{GOOD}    aliases: b\n", "models.yaml:6: models.a.aliases: must be a list"),
        (HEAD + f"  a:\n{GOOD}    aliases: [a]\n", "aliases[0]: 'a' is taken by models.a (line 3)"),
        (HEAD + f"  a:\n{GOOD}    aliases: [x, x]\n", "aliases[1]: 'x' is taken by"),
        (
            HEAD + f"  a:\n{GOOD}    aliases: [x-*]\n  b:\n{GOOD}    aliases: [x-*]\n",
            "models.b.aliases[0]: 'x-*' is taken by models.a.aliases[0] (line 6)",
        ),
        (HEAD + f"  a:\n{GOOD}    aliases: ['*-x-*']\n", 'aliases[0]: "*-x-*" is not a valid name'),
        (HEAD + f"  a:\n{GOOD}    aliases: [{'x' * 129}]\n", "must have at most 128 characters"),
        (
            HEAD + f"  a:\n{GOOD}    aliases:\n    - ok\n    - no way\n",
            "models.yaml:8: models.a.al",
        ),
        (HEAD + f"  a:\n{GOOD}    context_length: long\n", 'must be a whole number, not "long"'),
        (HEAD + f"  a:\n{GOOD}    context_length: 25.5\n", "must be a whole number, not 25.5"),
        (HEAD + f"  a:\n{GOOD}    context_length: true\n", "must be a whole number, not true"),
        (HEAD + f"  a:\n{GOOD}    context_length: 1\n", "greater than or equal to 8, not 1"),
        (
            HEAD + f"  a:\n{GOOD}    digest: sha256:12\n",
            'models.yaml:6: models.a.digest: "sha256:1',
        ),
        (HEAD + f"  a:\n{GOOD}    created: -1\n", "models.a.created: input should be greater"),
    ],
)
def test_says_line_field_and_problem(text: str, expected: str) -> None:
    lines = told(text)
    assert any(expected in line for line in lines), lines


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("nothing", "is not a source"),
        ("s3:bucket", "does not name an object"),
        ("path:", "does not name a file"),
        ("path:not/here", "not/here does not exist"),
        ("hf:name", "is not a Hub source"),
        ("hf:../name", "is not a Hub source"),
        ("package:name/file", "is not a package source"),
        ("package:name>=1/file", "is not a package source"),
        ("package:name==1", "is not a package source"),
        ("package:name==1/../../etc/passwd", "is outside the wheel"),
    ],
)
def test_refuses_sources_that_name_nothing(source: str, expected: str) -> None:
    (line,) = told(f"{HEAD}  a:\n    kind: embedding\n    source: {source!r}\n")
    assert line.startswith("models.yaml:5: models.a.source: ")
    assert expected in line


def test_tells_all_errors_at_once_in_line_order() -> None:
    text = (
        "version: 3\n"
        "models:\n"
        "  bad name:\n"
        "    kind: embedding\n"
        "    sorce: hf:o/n\n"
        "  chat:\n"
        "    kind: llm\n"
        "    source: path:gone\n"
        "    context_length: '2048'\n"
        "    engine_args: {model: x}\n"
        "  draw:\n"
        "    kind: diffusion\n"
        "    source: hf:o/n\n"
        "    steps: 500\n"
    )
    found = findings(text)
    assert [(finding.place.line, finding.place.field) for finding in found] == [
        (1, "version"),
        (3, "models.bad name"),
        (3, "models.bad name.source"),
        (5, "models.bad name.sorce"),
        (8, "models.chat.source"),
        (9, "models.chat.context_length"),
        (10, "models.chat.engine_args.model"),
        (14, "models.draw.steps"),
    ]
    hints = {finding.place.field: finding.fix for finding in found}
    assert hints["models.bad name.sorce"] == "did you mean `source`?"


def test_names_that_only_look_like_steps_are_fine() -> None:
    spec = parse("models.yaml", f"{HEAD}  qwen2:\n{GOOD}  qwen2.5:\n{GOOD}", Path())
    assert list(spec.models) == ["qwen2", "qwen2.5"]


def test_anchors_are_read_where_they_are_used() -> None:
    text = f"{HEAD}  a: &one\n{GOOD}    extra: 1\n  b: *one\n"
    assert [line.split(": ")[1] for line in told(text)] == ["models.a.extra", "models.b.extra"]


def test_an_alias_that_contains_itself_is_refused() -> None:
    assert any("contains itself" in line for line in told("version: 1\nmodels: &m {a: *m}\n"))


def test_an_alias_bomb_is_refused() -> None:
    rows = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    text = "a0: &a0 [1]\n" + "\n".join(rows)
    assert any(f"more than {MAX_NODES} values" in line for line in told(text))


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"version: \xff")
    with pytest.raises(SpecError, match="not UTF-8"):
        load(tmp_path / "latin.yaml")


def is_told(text: str) -> bool:
    """Whether `text` is a valid spec, or all its findings have a line in it."""
    try:
        parse("models.yaml", text, Path())
    except SpecError as error:
        return bool(error.findings) and all(finding.place.line >= 1 for finding in error.findings)
    return True


@given(st.text(max_size=200))
def test_any_text_is_a_spec_or_findings(text: str) -> None:
    assert is_told(text)


_KEYS = ["version", "models", "kind", "llm", "source", "aliases", "engine", "a"]
_YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_YAML)
def test_any_document_is_a_spec_or_findings(data: object) -> None:
    assert is_told(json.dumps(data))


def test_an_unknown_kind_hides_nothing_else() -> None:
    text = HEAD + "  a:\n    kind: embeding\n    source: moon:x\n    dimensions: 3\n"
    lines = told(text)
    assert [line.partition(": ")[0] for line in lines] == [f"models.yaml:{n}" for n in (4, 5, 6)]
    lines = told(HEAD + "  a:\n    kind: gpt\n    source: 5\n    bogus: 1\n")
    assert [line.split(": ")[1] for line in lines] == [
        "models.a.kind",
        "models.a.source",
        "models.a.bogus",
    ]


def test_errors_of_the_target_are_reported_with_the_others() -> None:
    text = HEAD + "  a:\n    kind: llm\n    source: hf:o/n\n    context_length: 64\n    x: 1\n"
    text += "    engine_args: {dtipe: auto}\n"
    with pytest.raises(SpecError) as caught:
        parse("models.yaml", text, Path(), find_target("embedded"))
    assert [each.place.line for each in caught.value.findings] == [7, 8]


def test_merge_keys_are_read_and_own_keys_win() -> None:
    base = HEAD + f"  a: &base\n{GOOD}    context_length: 64\n"
    spec = parse("models.yaml", base + "  b:\n    <<: *base\n    context_length: 32\n", Path())
    lengths = {name: entry.context_length for name, entry in embeddings(spec).items()}
    assert lengths == {"a": 64, "b": 32}
    (line,) = told(base + "  b:\n    <<: [*base, 5]\n")
    assert line == "models.yaml:8: models.b: `<<` does not name a mapping"
    assert any("contains itself" in line for line in told(HEAD + "  a: &a\n    <<: *a\n"))


def embeddings(spec: Spec) -> dict[str, EmbeddingEntry]:
    return {name: entry for name, entry in spec.models.items() if isinstance(entry, EmbeddingEntry)}


def test_findings_name_the_file_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "m.yaml").write_text("version: 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"^bad/m\.yaml:1: models: is missing"):
        load(Path("bad/m.yaml"))
