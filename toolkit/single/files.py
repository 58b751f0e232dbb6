"""The files of a checkpoint, as far as they say what it is: their names, and config.json."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import SourceError


@dataclass(frozen=True, slots=True)
class Files:
    """Names relative to the checkpoint; `config` is empty if there is no config.json."""

    names: Collection[str]
    config: Mapping[str, Any]


def read_folder(folder: Path) -> Files:
    """Raises SourceError for a config.json that is not a JSON object."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    file = folder / "config.json"
    if not file.exists() and (folder / "modules.json").exists():
        file = next(folder.glob("*_Transformer/config.json"), file)
    if not file.exists():
        return Files(names, {})
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise SourceError(f"{file} is not a JSON object", hint="it should describe the model")
    return Files(names, config)
