"""How long a text may be: what the source's positions allow, whatever its config says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from python_backends.tokenize.pairs import PairTokenizer
from python_backends.tokenize.texts import TextTokenizer
from tests.support.tiny_encoders import save_encoder
from tests.support.tiny_models import save_cross_encoder
from toolkit.convert.encoder import convert_encoder
from toolkit.convert.graph import run
from toolkit.convert.limit import longest, texts_at_limit
from toolkit.convert.positions import find_limit
from toolkit.convert.quiet import quiet
from toolkit.convert.reranker import convert_reranker
from toolkit.errors import ConvertError
from toolkit.kinds.embedding import EmbeddingFacts
from toolkit.progress import silent

OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet", "data2vec-text")
PLAIN = ("bert", "distilbert", "electra", "modernbert", "deberta-v2")


def body_of(architecture: str, **config: Any) -> Any:
    from transformers import AutoConfig, AutoModel

    sizes = {
        "vocab_size": 20,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 40,
        "pad_token_id": 0,
    }
    with quiet():
        return AutoModel.from_config(AutoConfig.for_model(architecture, **sizes | config)).eval()


@pytest.mark.parametrize(
    ("architecture", "pad", "limit"),
    [
        *((name, 1, 38) for name in OFFSET),
        ("roberta", 0, 39),
        ("xlm-roberta", 3, 36),
        *((name, 1, 40) for name in PLAIN),
    ],
)
def test_positions_that_begin_after_the_padding_are_not_tokens(
    architecture: str, pad: int, limit: int
) -> None:
    body = body_of(architecture, pad_token_id=pad)
    for claimed in (None, 10**30, 514, limit + 1, limit):
        assert find_limit(body, claimed) == limit
    assert find_limit(body, limit - 1) == limit - 1


def test_a_limit_that_no_table_names_is_found_by_computing() -> None:
    body = body_of("bert")
    body.embeddings.position_embeddings = body.embeddings.position_embeddings.requires_grad_(False)
    body.embeddings.register_buffer("position_ids", body.embeddings.position_ids[:, :11])
    body.embeddings.register_buffer("token_type_ids", body.embeddings.token_type_ids[:, :11])
    assert find_limit(body, None) == 11


def test_a_model_that_computes_nothing_is_refused() -> None:
    body = body_of("bert")
    body.config.vocab_size = 50
    with pytest.raises(ConvertError, match="cannot compute 1 tokens: index out of range"):
        find_limit(body, None)


@pytest.mark.parametrize("most", range(9))
def test_the_longest_that_works_is_found(most: int) -> None:
    assert longest(lambda length: length <= most, 8) == most


@pytest.mark.parametrize("limit", [1, 2, 7, 60, 512])
@pytest.mark.parametrize("letters", [1, 3, 50])
def test_texts_are_just_as_long_as_the_limit_and_one_more(limit: int, letters: int) -> None:
    """Counted in pieces of that many letters, as a tokenizer might."""

    def count(text: str) -> int:
        return sum(-(-len(word) // letters) for word in text.split())

    at, above = texts_at_limit(count, limit)
    assert (count(at), count(above)) == (limit, limit + 1)


def embed(folder: Path, limit: int, texts: list[str]) -> Any:
    """Vectors as the serving steps make them."""
    tokenizer = TextTokenizer.load(folder / "tokenize" / "tokenizer", limit)
    values = np.array([[text.encode()] for text in texts], dtype=object)
    arrays = tokenizer.read({"text": values, "truncate": np.ones((len(texts), 1), dtype=bool)})
    tokens = {name: arrays[name] for name in ("input_ids", "attention_mask")}
    return run(folder / "encoder" / "model.onnx", tokens)


@pytest.mark.parametrize("normalize", [True, False])
def test_an_encoder_is_right_at_its_limit_and_keeps_the_length_of_its_vectors(
    tmp_path: Path, normalize: bool
) -> None:
    from sentence_transformers import SentenceTransformer

    with quiet():
        source = save_encoder(
            tmp_path / "source", "roberta", normalize=normalize, pad_token_id=1, longest=40
        )
    facts = convert_encoder(source, tmp_path / "out", silent)
    assert facts == EmbeddingFacts(dimensions=16, context_length=38, normalized=normalize)
    texts = [" ".join(["paris cat"] * number) for number in (1, 18, 19, 60)]
    found = embed(tmp_path / "out", 38, texts)
    with quiet():
        model = SentenceTransformer(str(source), device="cpu")
        model.max_seq_length = 38
        wanted = model.encode(texts)
    assert np.abs(found - wanted).max() < 1e-4
    lengths = np.linalg.norm(found, axis=1)
    assert np.allclose(lengths, 1, atol=1e-4) is normalize


def test_a_cross_encoder_is_right_at_its_limit(tmp_path: Path) -> None:
    with quiet():
        source = save_cross_encoder(tmp_path / "source", segments=False, pad=1)
    facts = convert_reranker(source, tmp_path / "out", silent)
    assert facts.context_length == 62
    serving = PairTokenizer.load(tmp_path / "out" / "tokenize" / "tokenizer", 62, False, 32)
    pairs = np.array([[b"paris", b" ".join([b"cat"] * number)] for number in (1, 58, 59, 90)])
    arrays = serving.read(
        {
            "query": pairs[:, :1],
            "document": pairs[:, 1:],
            "truncate": np.ones((4, 1), dtype=bool),
        }
    )
    assert arrays["input_ids"].shape == (4, 62)  # a multiple of 32 would have no positions
    tokens = {name: arrays[name] for name in ("input_ids", "attention_mask")}
    scores = run(tmp_path / "out" / "encoder" / "model.onnx", tokens)
    assert scores.shape == (4, 1)
    assert scores[2] == pytest.approx(scores[3], abs=1e-6)
