"""The arguments and architectures of each vLLM version: one JSON file per version in this folder.

The files are written by `toolkit.engine_arguments.collect` from vLLM's own source and never by
hand. It does not know about targets; `toolkit.targets` says which release carries which version.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

SET_BY_US = {
    "model": "source",
    "tokenizer": "source",
    "hf_config_path": "source",
    "max_model_len": "context_length",
    "enable_lora": "adapters",
    "lora_modules": "adapters",
    "chat_template": "chat_template",
}
"""Arguments that the toolkit writes itself, and the field of models.yaml that decides them."""

Declared = str | dict[str, Any]
"""A type as `toolkit.engine_arguments.declarations` writes it, or one with a range."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One version. `arguments` are those of `AsyncEngineArgs`, `classes` the settings that their
    types name. `sampling` are the names of `override_generation_config` that it applies, `buckets`
    its families of histogram buckets, `connectors` those of an argument. `generates` and `pools`
    are architectures that it loads to write text and to turn text into numbers; `dropped` those of
    earlier versions → the last one ("": in a plugin)."""

    version: str
    arguments: Mapping[str, Declared]
    classes: Mapping[str, Mapping[str, Declared]]
    tool_parsers: tuple[str, ...]
    reasoning_parsers: tuple[str, ...]
    sampling: tuple[str, ...]
    buckets: tuple[str, ...]
    connectors: Mapping[str, tuple[str, ...]]
    generates: frozenset[str]
    pools: frozenset[str]
    dropped: Mapping[str, str]


@cache
def engine(version: str) -> Engine:
    """The facts about a version. Raises FileNotFoundError if it has not been collected."""
    text = resources.files(__name__).joinpath(f"vllm-{version}.json").read_text(encoding="utf-8")
    about = json.loads(text)
    return Engine(
        version,
        about["arguments"],
        about["classes"],
        tuple(about["tool_parsers"]),
        tuple(about["reasoning_parsers"]),
        tuple(about["sampling"]),
        tuple(about["buckets"]),
        {name: tuple(names) for name, names in about["connectors"].items()},
        frozenset(about["generates"]),
        frozenset(about["pools"]),
        about["dropped"],
    )


def engine_arguments(version: str) -> Mapping[str, Declared]:
    """Name → type of every argument of `AsyncEngineArgs` in that version.

    Raises FileNotFoundError for a version that has not been collected.
    """
    return engine(version).arguments


def collected() -> dict[str, str]:
    """Each version that has a file → where its arguments were read."""
    found = {}
    for file in resources.files(__name__).iterdir():
        if file.name.startswith("vllm-") and file.name.endswith(".json"):
            about = json.loads(file.read_text(encoding="utf-8"))
            found[str(about["vllm"])] = str(about["read_from"])
    return found
