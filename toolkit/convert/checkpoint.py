"""Checks the files of a Hugging Face language model, and places them where the steps expect them.

Only safetensors are accepted: a pickle runs code when it is loaded. If transformers is installed,
the names and shapes of all tensors are checked, too.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from toolkit.convert.complete import check_complete
from toolkit.convert.describe import describe
from toolkit.convert.failures import refusing
from toolkit.convert.safetensors_file import weight_files
from toolkit.convert.steps import share_tokenizer
from toolkit.errors import ConvertError
from toolkit.kinds.llm.facts import LlmFacts
from toolkit.progress import Progress

# not *.py: code that comes with a model is never run
_BESIDE = ("*.json", "*.jinja", "*.txt", "*.model")
_MOST_TOKENS = (
    "max_position_embeddings",
    "n_positions",
    "seq_length",
    "max_sequence_length",
    "max_seq_len",
)
_METHODS = {"quant_method", "load_in_8bit", "load_in_4bit"}
"""What names the quantizer of a checkpoint."""


def convert_checkpoint(folder: Path, place: Path, progress: Progress) -> LlmFacts:
    """Writes `engine/weights/` and `prompt/tokenizer/` below `place`. Raises ConvertError if a file
    is missing or not valid."""
    config = check_files(folder)
    files = files_of(folder, config)
    weights = place / "engine" / "weights"
    weights.mkdir(parents=True)
    size = sum(path.stat().st_size for path in files)
    with progress.step("copy weights", total=size, unit="bytes") as step:
        for path in files:
            shutil.copyfile(path, weights / path.name)
            step.advance(path.stat().st_size)
    share_tokenizer(weights, place / "prompt" / "tokenizer")
    return LlmFacts(
        context_length=_context_length(config),
        chat=_has_template(folder),
        cache_bytes_per_token=cache_bytes_per_token(config),
        details=describe(weights),
        vision=bool(config.get("vision_config")) and (folder / "preprocessor_config.json").exists(),
    )


def files_of(folder: Path, config: dict[str, Any]) -> list[Path]:
    """Weights, tokenizer and settings of a language model that is copied as it is.

    Raises ConvertError for weights that are not those of the model that `config` describes.
    """
    check_complete(folder, config)
    beside = {path for pattern in _BESIDE for path in folder.glob(pattern)}
    return sorted({*beside, *weight_files(folder)})


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a Hugging Face directory. Raises ConvertError if it cannot be read or is not
    valid."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        check_config(config)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except (ValueError, TypeError) as error:
        reason = f"is not valid: {error}"
    else:
        return config
    raise ConvertError(
        f"{folder} is not a checkpoint: config.json {reason}", hint="name a Hugging Face directory"
    )


def architecture(folder: Path, config: dict[str, Any]) -> str:
    """The class that a checkpoint was saved with. Raises ConvertError if config.json does not name
    one."""
    if names := config.get("architectures"):
        return str(names[0])
    raise ConvertError(
        f"config.json of {folder.absolute().name} does not name an architecture",
        hint='it should name the architecture, such as "architectures": ["LlamaForCausalLM"]',
    )


def check_config(config: Any) -> None:
    """Raises TypeError for what is not an object with a list of names as `architectures`."""
    if not isinstance(config, dict):
        raise TypeError(f"it contains a {type(config).__name__}, not an object")
    names = config.get("architectures")
    if names is not None and not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        raise TypeError(f"architectures ({str(names)[:40]}) must be a list of names")
    # later code reads inside these without asking
    for field in ("text_config", "vision_config", "quantization_config"):
        if not isinstance(config.get(field) or {}, dict):
            raise TypeError(f"{field} ({str(config[field])[:40]}) must be an object")
    # transformers loads no model whose quantizer is not named
    quantizer = config.get("quantization_config")
    if quantizer is not None and not _METHODS & set(quantizer):
        raise TypeError(
            f"quantization_config ({str(quantizer)[:40]}) has no quant_method; where the weights"
            " are not quantized, remove it"
        )


def check_files(folder: Path) -> dict[str, Any]:
    """`config.json` of a directory that has all files of a language model. Raises ConvertError,
    naming the missing files, for any other directory."""
    missing = [
        name
        for name, pattern in {
            "config.json": "config.json",
            "safetensors weights": "*.safetensors",
            "tokenizer.json": "tokenizer.json",
        }.items()
        if not any(folder.glob(pattern))
    ]
    if missing:
        raise ConvertError(
            f"{folder} is not a language model directory: it has no {', no '.join(missing)}",
            hint="`source` must be a .gguf file or a Hugging Face directory with safetensors",
        )
    return read_config(folder)


def positions(config: dict[str, Any]) -> int | None:
    """The maximum context in tokens from a language model's config; None if unknown."""
    # models that see images keep the language model's settings apart
    text = config.get("text_config") or config
    limits = (text.get(name) for name in _MOST_TOKENS)
    return next((value for value in limits if isinstance(value, int) and value > 0), None)


def _context_length(config: dict[str, Any]) -> int:
    if (limit := positions(config)) is not None:
        return limit
    raise ConvertError(
        "config.json does not contain the maximum number of positions of the model",
        hint=f"it should contain one of {', '.join(_MOST_TOKENS)}",
    )


def cache_bytes_per_token(config: dict[str, Any]) -> int:
    """Bytes of a token's keys and values in all layers, 2 bytes per number. Raises ConvertError if
    config.json lacks a size or has one that is not a number."""
    text = config.get("text_config") or config
    heads = _size(text, "num_attention_heads", "n_head")
    kept = text.get("num_key_value_heads") or heads
    # a head need not be a share of the width: Qwen3-0.6B has 16 heads of 128 and a width of 1024
    size = text.get("head_dim") or _size(text, "hidden_size", "n_embd") // heads
    try:
        return int(2 * 2 * _size(text, "num_hidden_layers", "n_layer") * kept * size)
    except TypeError as error:
        raise ConvertError(
            f"config.json: num_key_value_heads ({kept}) and head_dim ({size}) must be numbers"
        ) from error


def _size(config: dict[str, Any], *names: str) -> int:
    """The first of the settings that is there; GPT-2 and its kin have names of their own."""
    name = next((name for name in names if name in config), names[0])
    value = config.get(name)
    if not isinstance(value, int) or value < 1:
        raise ConvertError(
            f"config.json: {name} is {str(value)[:40]}; the size of the KV cache requires a "
            "number above 0"
        )
    return value


def _has_template(folder: Path) -> bool:
    # newer versions of transformers write a file of its own, older ones a field of the tokenizer's
    if (folder / "chat_template.jinja").exists():
        return True
    tokenizer = folder / "tokenizer_config.json"
    with refusing(f"{tokenizer} cannot be read"):
        return tokenizer.exists() and "chat_template" in json.loads(tokenizer.read_text())
