"""Reads metadata and tensors of a GGUF file, split or whole, without transformers.

Invariant: a split file is read completely, or refused with the names of the missing parts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from toolkit.convert.failures import describe
from toolkit.convert.safetensors_file import listed
from toolkit.errors import ConvertError
from toolkit.weights.gguf_shards import shard_names

_OWN = ("GGUF.", "split.", "general.alignment")
"""Metadata that a writer makes itself, or that a whole file has no use for."""


@dataclass(frozen=True, slots=True)
class Gguf:
    """`tensors` maps names to gguf's own readers of them, which read when they are asked."""

    file: Path
    metadata: dict[str, Any]
    tensors: dict[str, Any]
    readers: list[Any]

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture"))

    def own(self, key: str, default: Any = None) -> Any:
        """A value of the architecture's own metadata."""
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def values(self, name: str) -> npt.NDArray[np.float32]:
        """A tensor's numbers, dequantized by gguf's own code. Raises ConvertError if gguf cannot
        dequantize its type."""
        tensor = self.tensors[name]
        try:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError as error:
            raise ConvertError(
                f"{self.file.name}: {name} is of the type {tensor.tensor_type.name}, which the "
                "toolkit cannot dequantize",
                hint="use a file of another type, or the original safetensors directory",
            ) from error
        return np.asarray(values, dtype=np.float32)


def read_gguf(file: Path) -> Gguf:
    """Reads the headers of all parts. Raises ConvertError if a part is missing or damaged."""
    files = [file.with_name(name) for name in shard_names(file.name)]
    if missing := [each.name for each in files if not each.exists()]:
        raise ConvertError(
            f"{file.name} is one of {len(files)} parts of a split GGUF file, and "
            f"{listed(missing)} {'is' if len(missing) == 1 else 'are'} not beside it",
            hint="download all parts into one directory, then name any of them",
        )
    readers = [_open(each) for each in files]
    metadata = {name: field.contents() for name, field in readers[0].fields.items()}
    tensors: dict[str, Any] = {}
    for part, reader in zip(files, readers, strict=True):
        for tensor in reader.tensors:
            if tensor.name in tensors:
                raise ConvertError(
                    f"{part.name} contains {tensor.name}, which another part contains, too"
                )
            tensors[tensor.name] = tensor
    _check_split(files, readers, metadata, len(tensors))
    return Gguf(files[0], metadata, tensors, readers)


@contextmanager
def as_one_file(source: Gguf, scratch: Path) -> Iterator[Path]:
    """One file with everything, for libraries that cannot read split files: the file itself if
    it is complete, else a temporary copy in `scratch`."""
    if len(source.readers) == 1:
        yield source.file
        return
    # beside the result, not in /tmp, which may be in memory and too small for weights
    with TemporaryDirectory(dir=scratch) as folder:
        whole = Path(folder) / "whole.gguf"
        _merge(source, whole)
        yield whole


def _open(file: Path) -> Any:
    try:
        return gguf.GGUFReader(file)
    except Exception as error:  # it raises whatever numpy does about the bytes
        raise ConvertError(
            f"{file.name} is not a readable GGUF file: {describe(error)}",
            hint="the file may be incomplete; download it again",
        ) from error


def _check_split(files: list[Path], readers: list[Any], metadata: Any, actual: int) -> None:
    count = int(metadata.get("split.count", 1) or 1)
    if count != len(files):
        raise ConvertError(
            f"{files[0].name} is part of a GGUF file that was split into {count}, but its name "
            f"states {len(files)}",
            hint=f"restore the original names of the parts: NAME-00001-of-{count:05}.gguf …",
        )
    for number, (file, reader) in enumerate(zip(files, readers, strict=True)):
        # a renamed part would otherwise be read in another's place
        field = reader.fields.get("split.no")
        if field is not None and int(field.contents()) != number:
            raise ConvertError(
                f"the metadata of {file.name} contain the part number {int(field.contents()) + 1}",
                hint="restore the original names of the parts",
            )
    # each part may be whole while one of another split of the same model is among them
    expected = metadata.get("split.tensors.count")
    if expected is not None and int(expected) != actual:
        raise ConvertError(
            f"the parts of {files[0].name} contain {actual} of {expected} tensors",
            hint="download all parts of one model again",
        )


def _merge(source: Gguf, whole: Path) -> None:
    writer = gguf.GGUFWriter(whole, source.architecture)
    for field in source.readers[0].fields.values():
        if field.name == "general.architecture" or field.name.startswith(_OWN):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
    for name, tensor in source.tensors.items():
        # raw_dtype: the bytes are quantized already and are copied as they are
        writer.add_tensor(name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
