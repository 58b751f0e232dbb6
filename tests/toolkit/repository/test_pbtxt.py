"""Config text: what is written is what is read, the same bytes for the same message."""

import pytest
from hypothesis import given
from tritonclient.grpc.model_config_pb2 import ModelConfig

from tests.toolkit.repository.strategies import configs
from toolkit.errors import RepositoryError
from toolkit.repository.pbtxt import HEADER, generate, parse


@given(configs())
def test_parse_reads_what_generate_wrote(config: ModelConfig) -> None:
    assert parse(generate(config)) == config


@given(configs())
def test_the_same_message_gives_the_same_bytes(config: ModelConfig) -> None:
    again = ModelConfig.FromString(config.SerializeToString(deterministic=True))
    assert generate(again) == generate(config)


def test_batch_size_zero_is_written_and_identity_comes_first() -> None:
    text = generate(ModelConfig(name="a", backend="python"))
    assert text == f'{HEADER}name: "a"\nbackend: "python"\nmax_batch_size: 0\n'


def test_bad_text_is_told_with_its_place() -> None:
    with pytest.raises(RepositoryError, match=r"^a/config\.pbtxt:2:1 : "):
        parse('name: "a"\nnmae: "b"\n', "a/config.pbtxt")
