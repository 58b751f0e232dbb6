"""Random models with odd settings and damaged files end as right, or as a refusal that names them.

Right means: what was written answers as transformers does from the same directory. Few numbers are
tried here; `make fuzz` tries 200.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.support.random_models import ARCHITECTURES, ENCODERS, Case, draw, make
from toolkit.convert.decoder_parity import Decoder
from toolkit.convert.graph import run
from toolkit.convert.quiet import quiet
from toolkit.convert.run import Request, convert
from toolkit.errors import ConvertError, QuantizeError
from toolkit.progress import silent
from toolkit.quantize.job import Judging, Options
from toolkit.quantize.language import quantize_language
from toolkit.quantize.limits import Limits
from toolkit.weights.sources import Fetched

COUNT = 200 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 16
TOKENS = (5, 9, 3, 12, 7, 11, 4)
_DAMAGED = {"drop", "rename", "extra", "reshape", "cut", "index", "shard", "text"}


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("number", range(COUNT))
def test_a_random_model_ends_as_right_or_as_a_named_refusal(tmp_path: Path, number: int) -> None:
    case = draw(number)
    with quiet():
        source = make(case, tmp_path / f"model{number}")
    if source is None:
        return  # nobody can have such a model
    wanted = answers_of(source, case)
    for goal in goals(case):
        place = tmp_path / goal.replace(" ", "-")
        place.mkdir()
        try:
            found = GOALS[goal](source, place)
        except (ConvertError, QuantizeError) as error:
            assert_named(error, source, case)
            assert not (place / "out").exists()
            refused = error.message
            assert not (case.plain and goal in ALWAYS[case.architecture]), refused
        else:
            assert case.damage not in _DAMAGED
            assert wanted is not None
            assert np.abs(found - wanted).max() < TOLERANCES.get(goal, 2e-3)


def goals(case: Case) -> Iterator[str]:
    if case.architecture in ENCODERS:
        yield "onnx"
        return
    yield "gguf"
    yield "copy"
    if case.number % 5 == 0:
        yield "onnx decoder"
    if case.number % 9 == 0:
        yield "quantize"


def assert_named(error: ConvertError | QuantizeError, source: Path, case: Case) -> None:
    """The message says which model, or what of it, and is not a bare exception of a library."""
    message = error.message
    names = [source.name, "config.json", "Causal", "LMHead", *case.settings, *case.edit]
    assert any(name in message for name in names), message
    assert not message.startswith(("KeyError", "TypeError", "AttributeError", "RuntimeError"))
    assert len(message) < 1000


def answers_of(source: Path, case: Case) -> Any | None:
    """What transformers computes from the directory, when it finds exactly its weights there."""
    try:
        with quiet(), torch.inference_mode():
            if case.architecture in ENCODERS:
                model, report = transformers.AutoModel.from_pretrained(
                    source, dtype=torch.float32, output_loading_info=True
                )
                ids = torch.tensor([TOKENS])
                return model.eval()(ids).last_hidden_state.mean(1).numpy()
            model, report = transformers.AutoModelForCausalLM.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True
            )
            found = model.eval()(torch.tensor([TOKENS])).logits[0].numpy()
    except Exception:  # what transformers says is not the point here
        return None
    return None if report["missing_keys"] else found


def logits(model: Any) -> Any:
    with quiet(), torch.inference_mode():
        return model.eval()(torch.tensor([TOKENS])).logits[0].numpy()


def to_gguf(source: Path, place: Path) -> Any:
    """There and back, so that both directions are held to the source."""
    convert(source, Request("gguf", gguf_type="F32"), place / "out", silent)
    (file,) = (place / "out").glob("*.gguf")
    convert(file, Request("safetensors"), place / "back", silent)
    with quiet():
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            place / "back", dtype=torch.float32
        )
    return logits(model)


def to_decoder(source: Path, place: Path) -> Any:
    convert(source, Request("onnx"), place / "out", silent)
    return Decoder(place / "out").logits(np.array(TOKENS))


def to_encoder(source: Path, place: Path) -> Any:
    convert(source, Request("onnx"), place / "out", silent)
    ids = np.array([TOKENS])
    tokens = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return run(place / "out" / "encoder" / "model.onnx", tokens)


def copied(source: Path, place: Path) -> Any:
    convert(source, Request("tensorrt-llm"), place / "out", silent)
    with quiet():
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            place / "out" / "checkpoint", dtype=torch.float32
        )
    return logits(model)


def quantized(source: Path, place: Path) -> Any:
    """Its own checks hold the written matrices to the source's; rounding changes the answers."""
    options = Options("fp8", device="cpu")
    judging = Judging(Limits(max_ppl_ratio=1e9, max_kl=1e9), passages=1, engine=False)
    (place / "scratch").mkdir()
    quantize_language(Fetched(source, str(source)), options, judging, place / "scratch", silent)
    with quiet():
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    return logits(model)


GOALS = {
    "gguf": to_gguf,
    "copy": copied,
    "onnx": to_encoder,
    "onnx decoder": to_decoder,
    "quantize": quantized,
}
TOLERANCES = {"gguf": 0.05}
_MAPPED = ("llama", "mistral", "qwen2", "qwen3")
ALWAYS = {name: {"quantize"} for name in ARCHITECTURES}
ALWAYS |= {name: {"onnx"} for name in ENCODERS}
ALWAYS |= {name: {"gguf", "copy", "onnx decoder", "quantize"} for name in _MAPPED}
"""What a model without odd settings and damage is not refused for."""
