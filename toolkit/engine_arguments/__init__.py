"""Which arguments each vLLM version's engine takes: one JSON file per version, beside this module.

The files are written by `toolkit.engine_arguments.collect` from vLLM's own source and never by
hand. It does not know about targets; `toolkit.targets` says which release carries which version.
"""

import json
from functools import cache
from importlib import resources

SET_BY_US = {
    "model": "source",
    "max_model_len": "context_length",
    "enable_lora": "adapters",
    "lora_modules": "adapters",
    "chat_template": "chat_template",
}
"""Arguments that the toolkit writes itself, and the field of models.yaml that decides them."""


@cache
def engine_arguments(version: str) -> dict[str, str]:
    """Name → type (as vLLM writes it) of every argument of `AsyncEngineArgs` in that version.

    Raises FileNotFoundError for a version that has not been collected.
    """
    text = resources.files(__name__).joinpath(f"vllm-{version}.json").read_text(encoding="utf-8")
    arguments: dict[str, str] = json.loads(text)["arguments"]
    return arguments


def collected() -> dict[str, str]:
    """Every version there is a file for → where its arguments were read."""
    found = {}
    for file in resources.files(__name__).iterdir():
        if file.name.startswith("vllm-") and file.name.endswith(".json"):
            about = json.loads(file.read_text(encoding="utf-8"))
            found[str(about["vllm"])] = str(about["read_from"])
    return found
