"""The tokenizers of the default models.yaml: the byte limits that their models get."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tokenizers import Tokenizer
from tritonclient.grpc.model_config_pb2 import ModelConfig

from python_backends.prompt.rendering import Renderer
from python_backends.splitting import encode_up_to
from python_backends.tokenize.texts import TextTokenizer
from tests.support.fakes import strings
from tests.support.tokenizing import texts
from toolkit.building import Built

CHAT, EMBEDDING = "smollm2-135m-instruct", "all-minilm-l6-v2"
STEPS = {CHAT: "prompt", EMBEDDING: "tokenize", "emoji": "text_encoder"}


def folder(built: Built, name: str) -> Path:
    return built.output / f"{name}.{STEPS[name]}" / "1" / "tokenizer"


def tokenizer(built: Built, name: str) -> Any:
    found = Tokenizer.from_file(str(folder(built, name) / "tokenizer.json"))
    found.no_padding()
    found.no_truncation()
    return found


@pytest.mark.parametrize("name", STEPS)
def test_pieces_give_the_ids_of_the_whole(default_repository: Built, name: str) -> None:
    own = tokenizer(default_repository, name)

    def encode(text: str) -> list[int]:
        return list(own.encode(text, add_special_tokens=False).ids)

    for what, text in texts(seed=1).items():
        assert encode_up_to(encode, text, 10**9) == encode(text), what


@pytest.mark.parametrize(("name", "size"), [(CHAT, 81 * 2048), (EMBEDDING, 18 * 256)])
def test_the_longest_text_stands_in_the_configs(
    default_repository: Built, name: str, size: int
) -> None:
    for folder, key in (
        (name, "toolkit.max_text_bytes"),
        (f"{name}.{STEPS[name]}", "max_text_bytes"),
    ):
        text = (default_repository.output / folder / "config.pbtxt").read_text()
        config = text_format.Parse(text, ModelConfig())
        assert config.parameters[key].string_value == str(size)


def test_no_token_stands_for_more_bytes(default_repository: Built) -> None:
    own = tokenizer(default_repository, CHAT)
    longest = max(len(own.decode([number]).encode()) for number in range(own.get_vocab_size()))
    assert longest <= 81


def test_a_long_prompt_is_the_same_prompt(default_repository: Built) -> None:
    place = folder(default_repository, CHAT)
    renderer = Renderer.load(place, context_length=10**6)
    own = tokenizer(default_repository, CHAT)
    text = texts(seed=2)["mixed"]
    assert renderer.render({"text": text}).tolist() == own.encode(text).ids
    chat = renderer.render({"messages": [{"role": "user", "content": text}]}).tolist()
    assert own.decode(chat, skip_special_tokens=False).count(text.strip()) == 1


def test_a_cut_text_keeps_its_first_tokens(default_repository: Built) -> None:
    texts_tokenizer = TextTokenizer.load(folder(default_repository, EMBEDDING), 256)
    text = texts(seed=3)["mixed"]
    import numpy as np

    rows = {"text": strings(text).reshape(-1, 1), "truncate": np.array([[True]])}
    ids = texts_tokenizer.read(rows)["input_ids"][0].tolist()
    whole = tokenizer(default_repository, EMBEDDING).encode(text).ids
    assert ids == [*whole[:255], whole[-1]]
