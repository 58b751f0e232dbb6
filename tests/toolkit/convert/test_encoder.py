"""The embedding model's graph against the library that its authors used."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.processes import ROOT
from toolkit.building import Built
from toolkit.convert.encoder import convert_encoder
from toolkit.convert.graph import run
from toolkit.convert.quiet import quiet
from toolkit.errors import ConvertError
from toolkit.progress import silent
from toolkit.spec import load
from toolkit.weights.fetch import fetch

NAME = "all-minilm-l6-v2"
TEXTS = [
    "A man is eating food.",
    "Jemand isst.",
    "one",
    "The quick brown fox jumps over the lazy dog, again and again, until it is tired.",
]


@pytest.fixture(scope="module")
def source() -> Path:
    spec = load(ROOT / "models.yaml")
    return fetch(spec.models[NAME].origin, spec.folder, silent).path


def test_vectors_equal_the_source(source: Path, default_repository: Built) -> None:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    version = default_repository.output / f"{NAME}.tokenize" / "1"
    tokenizer = Tokenizer.from_file(str(version / "tokenizer" / "tokenizer.json"))
    assert tokenizer.truncation is None
    assert tokenizer.padding is None
    tokenizer.enable_padding()
    rows = tokenizer.encode_batch(TEXTS)
    tokens = {
        "input_ids": np.array([row.ids for row in rows]),
        "attention_mask": np.array([row.attention_mask for row in rows]),
    }
    found = run(default_repository.output / f"{NAME}.encoder" / "1" / "model.onnx", tokens)
    with quiet():
        wanted = SentenceTransformer(str(source), device="cpu").encode(TEXTS)
    assert np.abs(found - wanted).max() < 1e-4
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"it has no config\.json"):
        convert_encoder(tmp_path, tmp_path / "out", silent)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("pooling_mode", "max", "cannot convert the pooling 'max'")],
)
def test_other_poolings_are_named(
    source: Path, tmp_path: Path, field: str, value: str, expected: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(source, folder)
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"embedding_dimension": 384, field: value})
    )
    with pytest.raises(ConvertError, match=expected):
        convert_encoder(folder, tmp_path / "out", silent)


def test_broken_weights_are_refused(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(source, folder)
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ConvertError, match="is not a readable safetensors file"):
        convert_encoder(folder, tmp_path / "out", silent)
