"""Reads the header of a safetensors file: its tensors, and whether the file is complete.

It reads a few kilobytes without a library, so a truncated download, a missing shard or an index
that differs from its shards is refused before anything is loaded.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import ConvertError

_MOST_HEADER_BYTES = 100_000_000
"""The format's own limit."""
_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6} | dict.fromkeys(
    ("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8
)
_BITS |= dict.fromkeys(("U16", "I16", "F16", "BF16"), 16)
_BITS |= dict.fromkeys(("U32", "I32", "F32"), 32) | dict.fromkeys(("U64", "I64", "F64", "C64"), 64)
MODEL = "model"
"""What the weights' file is called without its ending; diffusers has another name."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as its file describes it; `dtype` as the format writes it: `BF16`, `I32` …"""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str


def read_tensors(folder: Path, stem: str = MODEL) -> dict[str, Tensor]:
    """Every tensor of a directory's weights, by name.

    Raises ConvertError for a file that is cut short or no safetensors file, for a shard that the
    index names and the directory lacks, for a tensor that is not in the file that the index names,
    and for a name that two files hold.
    """
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder, stem):
        for tensor in _read(file):
            if (other := tensors.get(tensor.name)) is not None:
                raise ConvertError(
                    f"{folder} contains {tensor.name} twice: in {other.file} and in {tensor.file}",
                    hint="remove the file that does not belong to the model",
                )
            tensors[tensor.name] = tensor
    index = _read_index(folder, stem)
    misplaced = sorted(
        f"{name} ({file})"
        for name, file in (index or {}).items()
        if name not in tensors or tensors[name].file != file
    )
    if misplaced:
        raise ConvertError(
            f"{folder}: {index_name(stem)} names {listed(misplaced)}, which the file does not"
            " contain",
            hint="download the whole directory again",
        )
    return tensors


def weight_files(folder: Path, stem: str = MODEL) -> list[Path]:
    """The files that hold a model: what the index names, or `model.safetensors`, or the only one.

    Loaders ignore others, so other `*.safetensors` beside them are not part of the model.
    Raises ConvertError for shards that are missing, and for several files without an index.
    """
    index, whole = _read_index(folder, stem), folder / f"{stem}.safetensors"
    if index is not None:
        names = sorted(set(index.values()))
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise ConvertError(
                f"{folder} lacks {listed(missing)}, which {index_name(stem)} names",
                hint="download the whole directory again",
            )
        if whole.exists() and whole.name not in names:
            raise ConvertError(
                f"{folder} contains {whole.name}, which {index_name(stem)} does not name",
                hint="libraries disagree about which of them they read; remove the wrong one",
            )
        return [folder / name for name in names]
    if whole.exists():
        return [whole]
    files = sorted(folder.glob("*.safetensors"))
    if len(files) > 1:
        raise ConvertError(
            f"{folder} contains {listed([file.name for file in files])} but not {index_name(stem)}",
            hint="download the index too; it lists the files of the model",
        )
    return files


def index_name(stem: str = MODEL) -> str:
    """The file that says in which shard each tensor is."""
    return f"{stem}.safetensors.index.json"


def listed(names: list[str], most: int = 5) -> str:
    """The first few names, and the number of further ones."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def read_index(file: Path) -> dict[str, str]:
    """Tensor → file name, of a `*.index.json`. Raises ConvertError if the file is not such an
    index."""
    try:
        places = json.loads(file.read_text())["weight_map"]
        if not isinstance(places, dict) or not places:
            raise TypeError("weight_map is not an object with names")
        for name in places.values():
            # shards are beside the index; a path would lead to files outside the directory
            if Path(name).name != name:
                raise ValueError(f"{name!r} is not a file beside it")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConvertError(f"{file} is not a valid index of weights: {error!r}") from error
    return {str(name): str(place) for name, place in places.items()}


def _read_index(folder: Path, stem: str) -> dict[str, str] | None:
    index = folder / index_name(stem)
    return read_index(index) if index.exists() else None


def _read(file: Path) -> Iterator[Tensor]:
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            # "{}" is the shortest; the first letters of a Git LFS pointer make a huge length
            if not 2 <= length <= _MOST_HEADER_BYTES:
                raise ValueError(f"its header has a length of {length} bytes")
            header = json.loads(stream.read(length), object_pairs_hook=_without_repeats)
        # the only entry of the header that does not describe a tensor
        header.pop("__metadata__", None)
        expected = 8 + length + max((t["data_offsets"][1] for t in header.values()), default=0)
        tensors = [_tensor(name, about, file.name) for name, about in header.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ConvertError(
            f"{file} is not a readable safetensors file: {error}",
            hint="the file may be incomplete; download it again",
        ) from error
    if size < expected:
        raise ConvertError(
            f"{file} is incomplete: it has {size} of {expected} bytes", hint="download it again"
        )
    yield from tensors


def _tensor(name: str, about: Mapping[str, Any], file: str) -> Tensor:
    dtype, shape = str(about["dtype"]), tuple(int(size) for size in about["shape"])
    first, last = about["data_offsets"]
    bits = math.prod(shape) * _BITS.get(dtype, 0)
    # types that are newer than this table are for the loader to judge
    if dtype in _BITS and (last - first) * 8 != bits:
        raise ValueError(f"{name} takes {last - first} bytes, not {bits // 8}")
    return Tensor(name, dtype, shape, file)


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # json keeps the last of two equal names, and another reader may keep the first
    unique = dict(pairs)
    if len(unique) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"its header names {twice} twice")
    return unique
