"""What is decided before any work: group sizes, limits, texts, and how they are refused. Pure."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.convert.safetensors_file import Tensor
from toolkit.errors import QuantizeError
from toolkit.quantize.language import measured
from toolkit.quantize.limits import Limits, failures
from toolkit.quantize.methods import GROUP_SIZES, choose_group_size, is_ignored, linear_inputs
from toolkit.quantize.texts import load_calibration, load_evaluation
from toolkit.quantize.tokens import encode_samples, pack_samples

widths = st.dictionaries(st.text("abc.", min_size=1), st.integers(1, 4096), min_size=1)


@given(widths)
def test_the_chosen_group_size_divides_every_input_and_no_larger_one_does(
    inputs: dict[str, int],
) -> None:
    fitting = [n for n in GROUP_SIZES if all(width % n == 0 for width in inputs.values())]
    if fitting:
        assert choose_group_size(inputs, None) == max(fitting)
        return
    with pytest.raises(QuantizeError, match="does not divide"):
        choose_group_size(inputs, None)


def test_a_group_size_that_does_not_fit_names_layers_and_what_would() -> None:
    inputs = {"model.layers.0.mlp.up_proj": 576, "model.layers.0.mlp.down_proj": 1536}
    with pytest.raises(QuantizeError, match=r"up_proj \(576\)") as caught:
        choose_group_size(inputs, 128)
    assert "--group-size 64" in (caught.value.hint or "")


def test_linear_layers_are_told_from_embeddings_norms_and_what_is_left_out() -> None:
    shapes = {
        "model.embed_tokens.weight": (100, 64),
        "model.layers.0.self_attn.q_proj.weight": (64, 64),
        "model.layers.0.mlp.down_proj.weight": (64, 128),
        "model.layers.0.input_layernorm.weight": (64,),
        "lm_head.weight": (100, 64),
    }
    tensors = {name: Tensor(name, "BF16", shape, "f") for name, shape in shapes.items()}
    assert linear_inputs(tensors, ("lm_head",)) == {
        "model.layers.0.self_attn.q_proj": 64,
        "model.layers.0.mlp.down_proj": 128,
    }
    assert list(linear_inputs(tensors, ("re:.*mlp",))) == ["model.layers.0.self_attn.q_proj"]
    assert is_ignored("model.layers.0.mlp.down_proj", ("down_proj",))
    assert not is_ignored("model.layers.0.mlp.updown_proj", ("down_proj",))


@pytest.mark.parametrize(
    ("report", "broken"),
    [
        ({"perplexity": {"ratio": 1.2}, "kl_nats": {"mean": 0.1}}, 0),
        ({"perplexity": {"ratio": 2.1}, "kl_nats": {"mean": 1.1}}, 2),
        ({"perplexity": {"ratio": math.nan}, "kl_nats": {"mean": 0.1}}, 1),
        ({"cosine": {"mean": 0.89}}, 1),
        ({"cosine": {"mean": math.nan}}, 1),
        ({"cosine": {"mean": 0.91}}, 0),
    ],
)
def test_limits(report: dict[str, Any], broken: int) -> None:
    assert len(failures(Limits(), report)) == broken
    assert failures(Limits(None, None, None), report) == []


def test_the_shipped_texts_share_nothing(tmp_path: Path) -> None:
    passages = load_evaluation(None)
    assert len(passages) == 10
    calibration = load_calibration(None, passages)
    assert len(calibration.samples) > 64
    # the same check that a user's file goes through
    file = tmp_path / "shipped.jsonl"
    file.write_text(
        "\n".join(
            json.dumps({"text": s} if isinstance(s, str) else {"messages": s})
            for s in calibration.samples
        )
    )
    assert load_calibration(str(file), passages).samples == calibration.samples


def test_text_that_judges_is_refused_for_calibration(tmp_path: Path) -> None:
    passages = load_evaluation(None)
    file = tmp_path / "mine.txt"
    file.write_text(f"Something else.\n\n{passages[3]}")
    with pytest.raises(QuantizeError, match="also used to measure the quality"):
        load_calibration(str(file), passages)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "fine"}\n{"words": 1}\n', r"a\.jsonl:2: "),
        ("a.jsonl", "{", r"a\.jsonl:1: "),
        ("a.txt", "\n\n", "does not contain texts"),
    ],
)
def test_bad_calibration_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(QuantizeError, match=message):
        load_calibration(str(tmp_path / name), [])
    with pytest.raises(QuantizeError, match="cannot be read"):
        load_calibration(str(tmp_path / "absent.txt"), [])


class _Letters:
    """As much of a tokenizer as cutting rows needs."""

    chat_template = None

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}


@given(st.lists(st.text("abc", max_size=40)), st.integers(1, 9), st.integers(2, 12))
def test_rows_are_the_texts_in_order_and_never_too_long(
    samples: list[str], count: int, length: int
) -> None:
    rows = encode_samples(samples, _Letters(), count, length)
    assert len(rows) <= count
    assert all(2 <= len(row) <= length for row in rows)
    joined = "".join(chr(token) for row in rows for token in row)
    letters = iter("".join(samples))
    assert all(letter in letters for letter in joined)  # a subsequence: single letters fall away


@given(st.lists(st.text("abc", max_size=40)), st.integers(1, 9), st.integers(2, 12))
def test_packed_rows_are_full_but_for_the_last(samples: list[str], count: int, length: int) -> None:
    rows = pack_samples(samples, _Letters(), count, length)
    assert len(rows) <= count
    assert all(len(row) == length for row in rows[:-1])
    packed = "".join(chr(token) for row in rows for token in row)
    text = "".join(samples)
    assert text.startswith(packed)
    assert len(text) - len(packed) <= 1 or len(packed) == count * length


def test_the_same_is_measured_once(tmp_path: Path) -> None:
    calls: list[str] = []

    def measure() -> dict[str, object]:
        calls.append("measured")
        return {"perplexity": 3.5}

    for about in (["text", 512], ["text", 512], ["text", 256]):
        assert measured(tmp_path, "quality", about, measure) == {"perplexity": 3.5}
    assert len(calls) == 2
