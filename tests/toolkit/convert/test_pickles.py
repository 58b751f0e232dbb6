"""Pickles to safetensors: nothing is lost between files, wrappers and shared memory."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support.tiny_language import save_tiny_language
from toolkit.convert.quiet import quiet
from toolkit.convert.run import Request, convert
from toolkit.errors import ConvertError
from toolkit.progress import silent

ASKED = Request("safetensors", from_pickle=True)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        return save_tiny_language(tmp_path_factory.mktemp("llama") / "tiny")


@pytest.fixture
def tensors(llama: Path) -> dict[str, torch.Tensor]:
    return load_file(llama / "model.safetensors")


def pickled(llama: Path, place: Path, files: dict[str, Any]) -> Path:
    """The model's directory with pickles in place of its weights."""
    shutil.copytree(llama, place)
    (place / "model.safetensors").unlink()
    for name, content in files.items():
        torch.save(content, place / name)
    return place


def refuses(source: Path, message: str) -> None:
    with pytest.raises(ConvertError, match=message):
        convert(source, ASKED, source.with_name("out"), silent)
    assert not source.with_name("out").exists()


NAME = "model.layers.1.mlp.up_proj.weight"


def test_a_pickle_that_is_not_its_configs_model_is_refused(
    llama: Path, tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    rest = {name: tensor for name, tensor in tensors.items() if name != NAME}
    for number, (content, message) in enumerate(
        (
            (rest, f"missing: {NAME}"),
            (rest | {f"{NAME}s": tensors[NAME]}, f"missing: {NAME}; unexpected: {NAME}s"),
            (tensors | {NAME: tensors[NAME][:3]}, rf"of another shape: {NAME} \[3, "),
        )
    ):
        source = pickled(llama, tmp_path / str(number), {"pytorch_model.bin": content})
        refuses(source, message)


def test_shards_that_the_index_names_are_all_there_or_named(
    llama: Path, tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    names = sorted(tensors)
    files = {
        "pytorch_model-00001-of-00002.bin": {name: tensors[name] for name in names[::2]},
        "pytorch_model-00002-of-00002.bin": {name: tensors[name] for name in names[1::2]},
    }
    source = pickled(llama, tmp_path / "source", files)
    places = {name: file for file, part in files.items() for name in part}
    index = source / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    torch.save({}, source / "other.bin")  # not the model's
    convert(source, ASKED, tmp_path / "whole", silent)
    written = load_file(tmp_path / "whole" / "model.safetensors")
    assert written.keys() == tensors.keys()
    index.write_text(
        json.dumps({"weight_map": places | {"more": "pytorch_model-00001-of-00002.bin"}})
    )
    refuses(source, "index.json names more, which are in no file")
    (source / "pytorch_model-00002-of-00002.bin").unlink()
    refuses(source, r"lacks pytorch_model-00002-of-00002\.bin, which .*index\.json names")


def test_views_and_tied_tensors_are_written_under_each_of_their_names(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        "whole": base,
        "tied": base,
        "rows": base[1:3],
        "columns": base[:, 2:4],
        "turned": base.t(),
        "flat": base.view(-1),
        "none": torch.zeros(0, 3),
        "number": torch.tensor(float("nan")),
    }
    torch.save(content, tmp_path / "pytorch_model.bin")
    record = convert(tmp_path / "pytorch_model.bin", ASKED, tmp_path / "out", silent)
    assert record["parity"][0]["difference"] == 0
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert written.keys() == content.keys()
    for name, tensor in content.items():
        assert torch.equal(written[name], tensor) or name == "number"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.ones(2), "deeper": {"b": torch.ones(2)}}, "contains deeper, which"),
        ({"a": torch.ones(2), "several": [torch.ones(2)]}, "contains several, which"),
        ({"a": torch.ones(2).to_sparse()}, "contains a, which"),
        ({1: torch.ones(2)}, "contains 1, which"),
        ([torch.ones(2)], "contains a list, not tensors by their names"),
        (torch.ones(2), "contains a Tensor, not tensors"),
        ({"epoch": 3}, "does not contain named tensors"),
    ],
)
def test_what_safetensors_cannot_hold_is_refused_by_name(
    tmp_path: Path, content: Any, message: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    torch.save(content, source / "pytorch_model.bin")
    refuses(source, message)


def test_the_same_name_in_two_files_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    torch.save({"a": torch.ones(2)}, source / "one.bin")
    torch.save({"a": torch.zeros(2)}, source / "two.pt")
    refuses(source, r"two\.pt contains a, which another file of source contains, too")


@pytest.mark.parametrize("size", [0, 10, 700])
def test_a_pickle_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    source = tmp_path / "source"
    source.mkdir()
    torch.save({"a": torch.ones(200)}, source / "pytorch_model.bin")
    whole = (source / "pytorch_model.bin").read_bytes()
    (source / "pytorch_model.bin").write_bytes(whole[:size])
    refuses(source, r"pytorch_model\.bin is not a readable PyTorch file|holds more than tensors")


def test_training_state_beside_a_state_dict_is_left_out(tmp_path: Path) -> None:
    source = tmp_path / "model.ckpt"
    torch.save({"epoch": 3, "state_dict": {"a": torch.ones(2)}, "optimizer": {"b": 1}}, source)
    convert(source, ASKED, tmp_path / "out", silent)
    assert load_file(tmp_path / "out" / "model.safetensors").keys() == {"a"}
