"""Finds what a conversion would refuse within milliseconds, without converting the source.

It reads file names, JSON and the metadata of GGUF files. It finds fewer errors than the conversion,
and never refuses what the conversion would accept.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.convert.checkpoint import check_files, positions, read_config
from toolkit.errors import ConvertError, MissingExtra
from toolkit.kinds.conversion import Conversion


def most_tokens(conversion: Conversion, source: Path) -> int | None:
    """The largest context length that the source can have; None when that is not known.

    Raises ConvertError when `conversion` cannot read the source.
    """
    return _CHECKS[conversion.check](conversion, source)


def _directory(conversion: Conversion, source: Path) -> int | None:
    if source.suffix == ".gguf":
        raise ConvertError(
            f"{source.name} is a GGUF file, and {conversion.source} is converted from a directory",
            hint="name the original Hugging Face directory; a GGUF language model has `kind: llm`",
        )
    if not (source / conversion.needs).exists():
        raise ConvertError(
            f"{source.name} is not the directory of {conversion.source}: it has no "
            f"{conversion.needs}",
            hint="name a directory in the format of the Hugging Face Hub",
        )
    if not conversion.limited:
        return None
    config = read_config(source)
    relative = "relative_attention_num_buckets" in config  # then the table does not limit texts
    return None if relative else positions(config)


def _checkpoint(_: Conversion, source: Path) -> int | None:
    return positions(check_files(source))


def _copy(_: Conversion, source: Path) -> int | None:
    import_module("toolkit.convert.user").find_versions(source)
    return None


def _gguf(_: Conversion, source: Path) -> int | None:
    try:
        module: Any = import_module("toolkit.convert.gguf_file")
        layout: Any = import_module("toolkit.convert.gguf_layout")
    except ImportError as error:
        raise MissingExtra("weights", f"reading {source.name} (it lacks {error.name})") from error
    file = module.read_gguf(source)
    layout.check_architecture(file.file.name, file.architecture)
    found = file.own("context_length")
    return int(found) if found else None


_CHECKS: Mapping[str, Callable[[Conversion, Path], int | None]] = {
    "directory": _directory,
    "checkpoint": _checkpoint,
    "gguf": _gguf,
    "copy": _copy,
}
