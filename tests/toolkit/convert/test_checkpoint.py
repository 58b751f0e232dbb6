"""Language model directories are taken as they are, after a check."""

import errno
import json
import os
from pathlib import Path

import pytest

from tests.support.checkpoint import save_checkpoint
from toolkit.convert.checkpoint import convert_checkpoint
from toolkit.errors import ConvertError
from toolkit.kinds.llm.limits import check_weights
from toolkit.progress import silent


@pytest.mark.parametrize("chat", [True, False])
def test_takes_safetensors_and_tokenizer(tmp_path: Path, chat: bool) -> None:
    source = save_checkpoint(tmp_path / "source", chat=chat)
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    facts = convert_checkpoint(source, tmp_path / "out", silent)
    assert (facts.context_length, facts.chat) == (512, chat)
    weights = {path.name for path in (tmp_path / "out" / "engine" / "weights").iterdir()}
    assert "pytorch_model.bin" not in weights
    assert "model.safetensors" in weights
    assert (tmp_path / "out" / "prompt" / "tokenizer" / "tokenizer.json").exists()


def test_a_template_may_stand_in_the_tokenizers_config(tmp_path: Path) -> None:
    source = save_checkpoint(tmp_path / "source", chat=False)
    (source / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}"}))
    assert convert_checkpoint(source, tmp_path / "out", silent).chat


def test_settings_that_are_null_are_as_if_they_were_not_there(tmp_path: Path) -> None:
    source = save_checkpoint(tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    nothing = dict.fromkeys(("text_config", "vision_config", "quantization_config"))
    (source / "config.json").write_text(json.dumps(config | nothing))
    facts = convert_checkpoint(source, tmp_path / "out", silent)
    assert facts.context_length == 512
    assert not facts.vision
    assert facts.details.quantization == ""
    check_weights({"tensor_parallel_size": 2}, source)


def test_a_quantizer_without_a_name_is_refused(tmp_path: Path) -> None:
    source = save_checkpoint(tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"quantization_config": {}}))
    with pytest.raises(ConvertError, match=r"quantization_config .* has no quant_method"):
        convert_checkpoint(source, tmp_path / "out", silent)


def test_a_file_system_without_hard_links_gets_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    source = save_checkpoint(tmp_path / "source")
    convert_checkpoint(source, tmp_path / "out", silent)
    copy = tmp_path / "out" / "prompt" / "tokenizer" / "tokenizer.json"
    assert copy.read_bytes() == (source / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    source = save_checkpoint(tmp_path / "source")
    (source / name).unlink()
    with pytest.raises(ConvertError, match="it has no "):
        convert_checkpoint(source, tmp_path / "out", silent)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{", "config.json is not valid"), ("{}", "does not contain the maximum")],
)
def test_bad_configs_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    source = save_checkpoint(tmp_path / "source")
    (source / "config.json").write_text(text)
    with pytest.raises(ConvertError, match=expected):
        convert_checkpoint(source, tmp_path / "out", silent)
