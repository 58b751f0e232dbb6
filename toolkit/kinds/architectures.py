"""What a folder of weights says that it is, and whether a kind can serve it.

Reads config.json and the names of files, no tensor. A folder that does not say what it is is left
to its conversion, which reads the weights themselves.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.engine_arguments import Engine
from toolkit.names import nearest

Refusal = tuple[str, str]
"""What the weights are, and what to do."""
_CAUSAL = ("ForCausalLM", "LMHeadModel")
_ENCODERS = ("ForMaskedLM", "EncoderModel", "Model")
_KINDS = {
    "llm": "a language model",
    "embedding": "an encoder of texts",
    "rerank": "a cross-encoder",
    "diffusion": "a diffusers pipeline",
}
_OTHERS = {
    "adapter": (
        "a LoRA adapter",
        "name its base model as `source`, and this folder below `adapters`",
    ),
    "classifier": (
        "a classifier with several labels",
        "serve it as `kind: python` with your own model.py",
    ),
    "encoder-decoder": (
        "an encoder-decoder model",
        "choose a decoder-only model, or serve it as `kind: python`",
    ),
}


@dataclass(frozen=True, slots=True)
class Weights:
    """`kind` is one of the toolkit's, `adapter`, `classifier`, `encoder-decoder`, or "" if the
    folder does not say; `architecture` is the class that saved it."""

    kind: str
    architecture: str = ""
    own_code: bool = False

    @property
    def words(self) -> str:
        """For messages."""
        words = _KINDS.get(self.kind) or _OTHERS[self.kind][0]
        return f"{words} ({self.architecture})" if self.architecture else words


def read_weights(folder: Path, engine: Engine | None = None) -> Weights:
    """What `folder` says; `engine` knows architectures by name."""
    if (folder / "model_index.json").is_file():
        return Weights("diffusion", str(_table(folder / "model_index.json").get("_class_name", "")))
    if not (folder / "config.json").is_file():
        return Weights("adapter" if (folder / "adapter_config.json").is_file() else "")
    config = _table(folder / "config.json")
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    return Weights(_kind(folder, config, name, engine), name, "auto_map" in config)


def _kind(folder: Path, config: Mapping[str, Any], name: str, engine: Engine | None) -> str:
    if _pools(folder):
        return "embedding"
    if name.endswith("ForSequenceClassification"):
        return "rerank" if _labels(config) == 1 else "classifier"
    if name.endswith("ForTokenClassification"):
        return "classifier"
    if config.get("is_encoder_decoder") is True:
        return "encoder-decoder"
    if name.endswith(_CAUSAL) or (engine is not None and name in engine.generates):
        return "llm"
    if name.endswith(_ENCODERS) or (engine is not None and name in engine.pools):
        return "embedding"
    return ""


def refusal(kind: str, path: Path, engine: Engine | None) -> Refusal | None:
    """Why `kind` cannot serve the weights at `path`; None if it can.

    `engine` is the vLLM that would load them, None for weights that it does not load.
    """
    if kind not in _KINDS:
        return None
    if path.is_file():
        if path.suffix == ".gguf" and kind != "llm":
            fix = "name the original safetensors directory as `source`, or write `kind: llm`"
            return "a GGUF file, which is served as a language model only", fix
        return None
    found = read_weights(path, engine)
    if found.kind in _OTHERS:
        return found.words, _OTHERS[found.kind][1]
    if found.kind and found.kind != kind:
        return found.words, f"write `kind: {found.kind}`"
    return _unknown(found, engine) if kind == "llm" and engine and found.architecture else None


def _unknown(found: Weights, engine: Engine) -> Refusal | None:
    name = found.architecture
    if (last := engine.dropped.get(name)) is not None:
        since = f"; {last} was the last version that did" if last else ""
        text = f"a {name}, which vLLM {engine.version} does not load{since}"
        return text, "choose another model, or a target with an older vLLM"
    # others may be loaded with transformers' own code, or the model's
    if name in engine.generates or name.endswith(_CAUSAL) or found.own_code:
        return None
    text = f"a {name}, which vLLM {engine.version} does not load"
    return text, nearest(name, sorted(engine.generates))


def _pools(folder: Path) -> bool:
    """Whether a sentence-transformers directory pools tokens into one vector."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        return any(str(module["type"]).endswith("Pooling") for module in modules)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _labels(config: Mapping[str, Any]) -> int:
    """transformers' own default is 2."""
    names = config.get("id2label")
    count = len(names) if isinstance(names, dict) else config.get("num_labels")
    return count if isinstance(count, int) else 2


def _table(file: Path) -> dict[str, Any]:
    """Empty for a file that is not valid: the conversion says what is wrong with it."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
