"""What a conversion would refuse, read from a source without converting it: in milliseconds.

It reads file names, JSON and the metadata of GGUF files. It finds less than the conversion does,
and nothing that the conversion would accept.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.convert.checkpoint import check_files, positions, read_config
from toolkit.errors import ConvertError, MissingExtra

_DIRECTORIES = {
    "encoder": ("an embedding model", ("config.json",)),
    "cross-encoder": ("a rerank model", ("config.json",)),
    "diffusion": ("an image model", ("model_index.json",)),
}


def most_tokens(conversion: str, source: Path) -> int | None:
    """The largest context length that the source can have; None when that is not known.

    Raises ConvertError when `conversion` cannot read the source.
    """
    match conversion:
        case "gguf":
            return _gguf(source)
        case "checkpoint":
            return positions(check_files(source))
        case "copy":
            import_module("toolkit.convert.user").find_versions(source)
            return None
    what, names = _DIRECTORIES[conversion]
    _check_directory(source, what, names)
    if conversion == "diffusion":
        return None
    config = read_config(source)
    relative = "relative_attention_num_buckets" in config  # then the table does not limit texts
    return None if relative else positions(config)


def _check_directory(source: Path, what: str, names: tuple[str, ...]) -> None:
    if source.suffix == ".gguf":
        raise ConvertError(
            f"{source.name} is a GGUF file; {what} is converted from a directory",
            hint="name the original Hugging Face directory; a GGUF language model has `kind: llm`",
        )
    if not source.is_dir() or not any((source / name).exists() for name in names):
        raise ConvertError(
            f"{source.name} is not the directory of {what}: it has no {' and no '.join(names)}",
            hint="name a directory in the format of the Hugging Face Hub",
        )


def _gguf(source: Path) -> int | None:
    try:
        module: Any = import_module("toolkit.convert.gguf_file")
        layout: Any = import_module("toolkit.convert.gguf_layout")
    except ImportError as error:
        raise MissingExtra("weights", f"reading {source.name} (it lacks {error.name})") from error
    file = module.read_gguf(source)
    layout.check_architecture(file.file.name, file.architecture)
    found = file.own("context_length")
    return int(found) if found else None
