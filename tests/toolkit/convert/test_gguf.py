"""GGUF to safetensors: the default model's own file, and files that cannot be converted."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from tests.support.processes import ROOT
from toolkit.building import Built
from toolkit.convert.gguf import convert_gguf, stop_tokens
from toolkit.convert.gguf_tokenizer import save_tokenizer
from toolkit.convert.quiet import quiet
from toolkit.errors import ConvertError
from toolkit.progress import silent
from toolkit.spec import load
from toolkit.weights.fetch import fetch

NAME = "smollm2-135m-instruct"
SENTENCE = "The capital of France is Paris, which had 2,102,650 inhabitants in 2023."


@pytest.fixture(scope="module")
def source() -> Path:
    spec = load(ROOT / "models.yaml")
    return fetch(spec.models[NAME].origin, spec.folder, silent).path


@pytest.fixture(scope="module")
def weights(default_repository: Built) -> Path:
    return default_repository.output / f"{NAME}.engine" / "1" / "weights"


@pytest.fixture(scope="module")
def tokenizer(weights: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(weights)


def test_logits_equal_the_source(source: Path, weights: Path, tokenizer: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    with quiet(), torch.inference_mode():
        exact = AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, dtype=torch.float32
        )
        kept = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.bfloat16)
        ids = tokenizer(SENTENCE, return_tensors="pt").input_ids
        wanted, found = exact(ids).logits, kept.float()(ids).logits
        rounded = {name: value.to(torch.bfloat16) for name, value in exact.state_dict().items()}
    assert kept.config.dtype == torch.bfloat16
    assert all(
        torch.equal(value.to(torch.bfloat16), rounded[name])
        for name, value in kept.state_dict().items()
    )
    assert torch.equal(found.argmax(-1), wanted.argmax(-1))
    assert torch.nn.functional.cosine_similarity(found, wanted, dim=-1).min() > 0.999


def test_the_tokenizer_is_the_authors_own(tokenizer: Any) -> None:
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.tokenize("x  12") == ["x", "ĠĠ", "1", "2"]
    assert tokenizer.tokenize("<|im_start|>user") == ["<|im_start|>", "user"]
    for text in (SENTENCE, "Kirschblüte 桜 🌸", " leading", "tabs\tand\n\nlines "):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")


def test_the_answer_ends_at_the_end_of_a_turn(weights: Path) -> None:
    from transformers import GenerationConfig

    assert GenerationConfig.from_pretrained(weights).eos_token_id == 2


def test_files_can_be_read_by_other_users(weights: Path) -> None:
    assert all(path.stat().st_mode & 0o044 for path in weights.iterdir())


def test_stop_tokens_are_the_end_of_text_and_of_a_turn() -> None:
    eos, eot = "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"
    assert stop_tokens({}) is None
    assert stop_tokens({eos: 2, eot: 2}) == 2
    assert stop_tokens({eos: 2, eot: 5}) == [2, 5]


def write_gguf(file: Path, architecture: str) -> Path:
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", "marvin")
    with pytest.raises(ConvertError, match=r"a\.gguf has the architecture 'marvin'") as caught:
        convert_gguf(file, tmp_path / "out", silent)
    assert "llama" in str(caught.value.hint)


@pytest.mark.parametrize("size", [0, 3, 100])
def test_a_file_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    file = write_gguf(tmp_path / "a.gguf", "llama")
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ConvertError, match=r"a\.gguf is not a readable GGUF file"):
        convert_gguf(file, tmp_path / "out", silent)


def metadata(style: str) -> dict[str, Any]:
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": style,
        "tokenizer.ggml.tokens": ["a", "b", "ab", "<s>", "1"],
        "tokenizer.ggml.token_type": [1, 1, 1, 3, 1],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": 3,
        "tokenizer.ggml.eos_token_id": 3,
    }


def test_an_unknown_way_to_cut_words_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="splits words with 'odd'"):
        save_tokenizer(metadata("odd"), tmp_path / "a.gguf", tmp_path)


@pytest.mark.parametrize(
    ("style", "ids"),
    [
        ("gpt-2", [2, 4, 4]),
        ("smollm", [2, 4, 4]),
        ("qwen2", [2, 4, 4]),
        ("llama-bpe", [3, 2, 4, 4]),
    ],
)
def test_known_ways_to_cut_words(tmp_path: Path, style: str, ids: list[int]) -> None:
    with quiet():
        tokenizer = save_tokenizer(metadata(style), tmp_path / "a.gguf", tmp_path)
        assert tokenizer("ab11").input_ids == ids
