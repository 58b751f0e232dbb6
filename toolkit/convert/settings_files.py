"""Checks the JSON files beside a model's weights; libraries do not name an invalid file."""

import json
from pathlib import Path

from toolkit.errors import ConvertError

_OBJECTS = {
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
}


def check_settings(folder: Path) -> None:
    """Raises ConvertError that names a file which is not valid JSON, or of another kind."""
    for file in sorted(folder.glob("*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        # RecursionError: a file of a few thousand brackets
        except (OSError, ValueError, RecursionError) as error:
            raise ConvertError(f"{file} is not valid JSON: {error}") from error
        if file.name in _OBJECTS and not isinstance(content, dict):
            raise ConvertError(f"{file} contains a {type(content).__name__}, not an object")
        if file.name == "modules.json" and not (
            isinstance(content, list)
            and content
            and all(isinstance(each, dict) and {"path", "type"} <= each.keys() for each in content)
        ):
            raise ConvertError(f"{file} does not list modules with their path and type")
