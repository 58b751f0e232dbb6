"""The head of a safetensors file: which tensors it holds, and whether it is whole.

Reads a few kilobytes and no library, so a truncated download is refused before anything is loaded.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ConvertError

_MOST_HEADER_BYTES = 100_000_000
"""The format's own limit."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as its file describes it; `dtype` as the format writes it: `BF16`, `I32` …"""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a directory's `*.safetensors`, by name.

    Raises ConvertError for a file that is cut short or no safetensors file, and for one that the
    index names and the directory lacks.
    """
    files = sorted(folder.glob("*.safetensors"))
    missing = sorted(_indexed(folder) - {file.name for file in files})
    if missing:
        raise ConvertError(
            f"{folder} lacks {', '.join(missing)}, which model.safetensors.index.json names",
            hint="fetch the whole directory again",
        )
    return {tensor.name: tensor for file in files for tensor in _read(file)}


def _indexed(folder: Path) -> set[str]:
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return set()
    try:
        return set(json.loads(index.read_text())["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConvertError(f"{index} is no index of weights: {error!r}") from error


def _read(file: Path) -> Iterator[Tensor]:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= _MOST_HEADER_BYTES:
                raise ValueError(f"its header is said to be {length} bytes long")
            header = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            wanted = 8 + length + max((t["data_offsets"][1] for t in header.values()), default=0)
            size = file.stat().st_size
            tensors = [
                Tensor(name, about["dtype"], tuple(about["shape"]), file.name)
                for name, about in header.items()
            ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConvertError(
            f"{file} is no readable safetensors file: {error}", hint="is it cut short?"
        ) from error
    if size < wanted:
        raise ConvertError(
            f"{file} is cut short: {size} of {wanted} bytes are there", hint="fetch it again"
        )
    yield from tensors
