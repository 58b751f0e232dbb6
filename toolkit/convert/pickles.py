"""Converts a directory of PyTorch pickles to safetensors.

Pickles can run code, so they are always loaded with `weights_only`, which can only create tensors.
Invariant: every written tensor was read again and is the same bit for bit, and the tensors that a
config.json beside the pickles describes are complete.
"""

import pickle
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import safe_open

from toolkit.convert.complete import check_against_config
from toolkit.convert.failures import describe, refusing
from toolkit.convert.parity import Check, record
from toolkit.convert.quiet import quiet
from toolkit.convert.safetensors_file import listed, read_index
from toolkit.errors import ConvertError
from toolkit.progress import Progress

PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_NOT_WEIGHTS = {"training_args.bin", "optimizer.pt", "scheduler.pt", "optimizer.bin"}
_KEPT = ("*.json", "*.jinja", "*.txt", "*.model")
_WRAPPERS = ("state_dict", "model", "module")
_MAIN = "pytorch_model.bin"


def pickles(folder: Path) -> list[Path]:
    """The files that contain weights, in order; for a file, that file.

    Where there is an index, those that it names; `pytorch_model.bin` alone where that is there.
    Raises ConvertError for files that the index names and the directory lacks.
    """
    if folder.is_file():
        return [folder] if folder.suffix in {pattern[1:] for pattern in PATTERNS} else []
    if index := _index(folder):
        names = sorted(set(index.values()))
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise ConvertError(
                f"{folder} lacks {listed(missing)}, which {_MAIN}.index.json names",
                hint="download the whole directory again",
            )
        return [folder / name for name in names]
    # others beside it are of the training, or repeat the same weights
    if (folder / _MAIN).is_file():
        return [folder / _MAIN]
    files = {file for pattern in PATTERNS for file in folder.glob(pattern)}
    return sorted(file for file in files if file.name not in _NOT_WEIGHTS)


def convert_pickles(source: Path, place: Path, progress: Progress, shard_size: str) -> None:
    """Writes `*.safetensors` and all other files next to the pickles.

    Raises ConvertError for a pickle that holds anything but tensors, for a truncated one, and for
    tensors that are missing or too many by the index or by config.json.
    """
    files = pickles(source)
    if not files:
        raise ConvertError(f"{source} does not contain pickled weights", hint=", ".join(PATTERNS))
    tensors: dict[str, torch.Tensor] = {}
    with progress.step("read pickles", total=len(files), unit="files") as step:
        for file in files:
            for name, tensor in _load(file).items():
                if name in tensors:
                    raise ConvertError(
                        f"{file.name} contains {name}, which another file of {source.name}"
                        " contains, too",
                        hint="name the file with the model as SOURCE",
                    )
                tensors[name] = tensor
            step.advance()
    _check(source, tensors)
    with (
        progress.step("write safetensors", unit="files"),
        quiet(),
        refusing(f"{source.name} cannot be written as safetensors", through=(OSError,)),
    ):
        save_torch_state_dict(_own_memory(tensors), place, max_shard_size=shard_size)
    del tensors
    if source.is_dir():
        for pattern in _KEPT:
            for file in source.glob(pattern):
                # it names the pickles; the writer makes one for the new files
                if not file.name.endswith(".index.json"):
                    shutil.copyfile(file, place / file.name)
    # after `del tensors`: the second reading takes as much memory as the first
    _compare(files, place)


def _index(folder: Path) -> dict[str, str]:
    file = folder / f"{_MAIN}.index.json"
    return read_index(file) if file.exists() else {}


def _check(source: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    folder = source if source.is_dir() else source.parent
    if source.is_dir() and (missing := sorted(_index(source).keys() - tensors.keys())):
        raise ConvertError(
            f"{source}: {_MAIN}.index.json names {listed(missing)}, which are in no file",
            hint="download the whole directory again",
        )
    if source.is_dir() or source.name == _MAIN:
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        check_against_config(folder, shapes)


def _load(file: Path) -> dict[str, torch.Tensor]:
    try:
        with quiet():
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConvertError(
            f"{file} contains more than tensors, and loading it could run code: "
            f"{describe(error).split('. ')[0]}",
            hint="it was not loaded; ask its author for safetensors",
        ) from error
    except Exception as error:  # it raises whatever the bytes lead to
        raise ConvertError(
            f"{file} is not a readable PyTorch file: {describe(error)}",
            hint="the file may be incomplete; download it again",
        ) from error
    # trainers save the model beside optimizer and step number, some two levels deep
    for name in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict):
        raise ConvertError(
            f"{file} contains a {type(content).__name__}, not tensors by their names"
        )
    odd = [str(name) for name, value in content.items() if not _is_plain(name, value)]
    if odd:
        raise ConvertError(
            f"{file} contains {listed(odd)}, which safetensors cannot store",
            hint="safetensors stores dense tensors by name; nested and sparse tensors would be"
            " lost",
        )
    tensors = {name: t for name, t in content.items() if isinstance(t, torch.Tensor)}
    if not tensors:
        raise ConvertError(f"{file} does not contain named tensors")
    return tensors


def _is_plain(name: Any, value: Any) -> bool:
    """A dense tensor with a name, or something that does not contain a tensor."""
    if isinstance(value, torch.Tensor):
        dense = value.layout is torch.strided and not value.is_quantized
        # in spite of map_location a tensor may be "meta", which has no numbers
        return isinstance(name, str) and dense and value.device.type == "cpu"
    return next(_tensors(value), None) is None


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from _tensors(each)


def _own_memory(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that share memory become tensors of their own: the format does not store views, and
    whether two names are tied is for config.json to say."""
    taken: set[int] = set()
    copies = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        whole = tensor.numel() * tensor.element_size() == storage.nbytes()
        own = whole and tensor.is_contiguous() and storage.data_ptr() not in taken
        taken.add(storage.data_ptr())
        copies[name] = tensor.detach() if own else tensor.detach().contiguous().clone()
    return copies


def _compare(files: list[Path], place: Path) -> None:
    """Reads the pickles a second time, and every tensor of the result."""
    expected = {name: tensor for file in files for name, tensor in _load(file).items()}
    wrong = 0
    for file in sorted(place.glob("*.safetensors")):
        with safe_open(file, framework="pt") as written:
            for name in written.keys():  # noqa: SIM118  not a mapping
                source = expected.pop(name, None)
                wrong += source is None or not _equal(written.get_tensor(name), source)
    wrong += len(expected)
    record(
        Check("pickle to safetensors", "tensors that are not identical bit by bit", wrong, 0),
        f"{wrong} tensors differ after the conversion",
    )


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Bit for bit, NaN included."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    # flat first: a tensor without axes cannot be viewed in another size of numbers
    flat = one.contiguous().flatten().view(torch.uint8)
    return torch.equal(flat, other.contiguous().flatten().view(torch.uint8))
