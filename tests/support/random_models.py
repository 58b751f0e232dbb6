"""Random models of twelve architectures with odd settings and damaged files, each from one number.

`make` writes a directory; the same number always writes the same bytes.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.support.tiny_language import save_tiny_language
from tests.support.tiny_models import SIZES, save_tokenizer

LANGUAGE = ("llama", "mistral", "qwen2", "qwen3", "phi3", "granite", "gemma2", "mixtral", "gpt2")
ENCODERS = ("Bert", "Roberta", "MPNet")
ARCHITECTURES = (*LANGUAGE, *ENCODERS)

_SETTINGS: dict[str, tuple[Any, ...]] = {
    "head_dim": (8, 16, 32, 20),
    "num_attention_heads": (1, 2, 8),
    "num_key_value_heads": (1, 4),
    "num_hidden_layers": (1, 3),
    "attention_bias": (True,),
    "mlp_bias": (True,),
    "tie_word_embeddings": (True, False),
    "max_position_embeddings": (20, 66, 130),
    "rms_norm_eps": (1e-2, 1e-12),
    "hidden_act": ("gelu", "relu"),
    "intermediate_size": (96, 100),
    "sliding_window": (8, 4096),
    "vocab_size": (416, 401),
    "eos_token_id": ([1, 2],),
    "pad_token_id": (2, None),
    "rope_parameters": (
        {"rope_type": "default", "rope_theta": 5e5},
        {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0},
        {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
    ),
}
_ENCODER_SETTINGS: dict[str, tuple[Any, ...]] = {
    "num_attention_heads": (1, 4),
    "num_hidden_layers": (1, 3),
    "max_position_embeddings": (20, 66, 130),
    "hidden_act": ("relu", "gelu_new"),
    "intermediate_size": (7, 48),
    "type_vocab_size": (1, 2),
    "layer_norm_eps": (1e-2,),
    "pad_token_id": (0, 1),
}
_EDITS: tuple[dict[str, Any], ...] = (
    {"hidden_size": "64"},
    {"num_hidden_layers": 1},
    {"num_hidden_layers": None},
    {"num_hidden_layers": 4},
    {"vocab_size": None},
    {"architectures": None},
    {"architectures": ["NobodysForCausalLM"]},
    {"architectures": "LlamaForCausalLM"},
    {"model_type": "nobodys"},
    {"torch_dtype": "float16", "dtype": None},
    {"rope_scaling": {"type": "yarn", "factor": 4.0}},
    {"quantization_config": {}},
    {"max_position_embeddings": 0},
    {"num_attention_heads": 3},
    {"unknown_setting": {"a": [1, 2]}},
    {"auto_map": {"AutoConfig": "configuration.Config"}},
)
_DAMAGES = ("drop", "rename", "extra", "reshape", "cut", "index", "shard", "text", "harmless")


@dataclass(frozen=True, slots=True)
class Case:
    """What was drawn: everything that decides the directory's content."""

    number: int
    architecture: str
    settings: dict[str, Any]
    edit: dict[str, Any]
    damage: str

    @property
    def plain(self) -> bool:
        return not (self.settings or self.edit or self.damage)


def draw(number: int) -> Case:
    """Architectures in turn; a third of the directories is damaged, a third's config is edited."""
    chance = random.Random(number)
    architecture = ARCHITECTURES[number % len(ARCHITECTURES)]
    known = _ENCODER_SETTINGS if architecture in ENCODERS else _SETTINGS
    names = chance.sample(sorted(known), chance.choice((0, 1, 1, 2, 3)))
    settings = {name: chance.choice(known[name]) for name in names}
    edit = chance.choice(_EDITS) if chance.random() < 0.33 else {}
    damage = chance.choice(_DAMAGES) if chance.random() < 0.33 else ""
    return Case(number, architecture, settings, edit, damage)


def make(case: Case, folder: Path) -> Path | None:
    """Writes the directory; None when transformers does not make such a model."""
    try:
        if case.architecture in ENCODERS:
            _save_encoder(case, folder)
        else:
            style = "qwen2" if case.architecture.startswith("qwen") else "smollm"
            save_tiny_language(folder, architecture=case.architecture, style=style, **case.settings)
    except Exception:  # an impossible combination
        return None
    if case.edit:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | case.edit))
    _damage(case, folder, random.Random(~case.number))
    return folder


def _save_encoder(case: Case, folder: Path) -> None:
    torch.manual_seed(case.number)
    sizes = SIZES | {"pad_token_id": 0, "initializer_range": 1.0}
    config = getattr(transformers, f"{case.architecture}Config")(**sizes | case.settings)
    getattr(transformers, f"{case.architecture}Model")(config).save_pretrained(folder)
    save_tokenizer(folder, segments=case.architecture == "Bert")


def _damage(case: Case, folder: Path, chance: random.Random) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = chance.choice(sorted(tensors))
    match case.damage:
        case "drop":
            del tensors[name]
        case "rename":
            tensors[f"{name}s"] = tensors.pop(name)
        case "extra":
            tensors["model.layers.9.mlp.up_proj.weight"] = torch.ones(4, 4)
        case "reshape":
            tensors[name] = torch.cat([tensors[name], tensors[name]])
        case "harmless":
            tensors["embeddings.position_ids"] = torch.arange(4)[None]
            tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
        case "index" | "shard":
            places = dict.fromkeys(tensors, "model-00001-of-00002.safetensors")
            places[name] = "model-00002-of-00002.safetensors"
            about = {"metadata": {}, "weight_map": places}
            (folder / "model.safetensors.index.json").write_text(json.dumps(about))
            file.unlink()
            file = folder / "model-00001-of-00002.safetensors"
            if case.damage == "shard":
                save_file({name: tensors.pop(name)}, folder / places[name])
                places[name] = "gone"
            del tensors[next(iter(tensors))]
        case "text":
            (folder / "config.json").write_text("[1, 2")
    save_file(tensors, file, metadata={"format": "pt"})
    if case.damage == "cut":
        file.write_bytes(file.read_bytes()[: chance.randrange(4, file.stat().st_size)])
