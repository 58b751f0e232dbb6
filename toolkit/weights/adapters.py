"""LoRA adapters: whether a folder is one that vLLM can load, and of which rank it is."""

import json
from pathlib import Path

from toolkit.errors import SourceError

FILES = ("adapter_config.json", "adapter_model.safetensors")


def check_adapter(name: str, folder: Path) -> int:
    """The rank of its matrices. Raises SourceError for anything that is not a LoRA adapter."""
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise SourceError(
            f"the adapter '{name}' has no {', no '.join(missing)}",
            hint=f"its source must be a folder with {' and '.join(FILES)}",
        )
    try:
        config = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))
        kind, rank = config["peft_type"], config["r"]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{FILES[0]} of the adapter '{name}' cannot be read: {error}") from error
    if kind != "LORA" or not isinstance(rank, int) or rank < 1:
        raise SourceError(
            f"the adapter '{name}' is of type {kind} and rank {rank}, not a LoRA adapter",
            hint="vLLM serves LoRA adapters only",
        )
    return rank
