"""Reverts what GGUF changes in a tensor (its name, the order of rows, a shift), to compare tensors.

It follows llama.cpp's converter and is independent of transformers' reader, so that the two can be
compared. Only architectures whose layout is defined here are converted.
"""

import re
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from toolkit.errors import ConvertError

Array = npt.NDArray[np.float32]
ARCHITECTURES = (
    "gemma2",
    "gemma3",
    "gpt2",
    "llama",
    "phi3",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen3moe",
    "starcoder2",
)
_SHIFTED = {"gemma2", "gemma3"}
"""Their norms are stored plus 1."""
_TRANSPOSED = re.compile(r"blk\.\d+\.(attn_qkv|attn_output|ffn_up|ffn_down)\.weight")
"""GPT-2's matrices, whose code multiplies from the other side."""
_EXPERT = re.compile(r"\.experts\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of one architecture. `heads` of keys are those that share queries."""

    architecture: str
    names: Any
    heads: int
    key_heads: int

    def place(self, name: str) -> str:
        """The GGUF tensor that holds a Hugging Face tensor. Raises ConvertError if the architecture
        does not have such a tensor."""
        stem = _EXPERT.sub(".experts.", name)
        target = self.names.get_name(stem, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ConvertError(f"{name} cannot be stored in GGUF's {self.architecture}")
        return str(target)

    def restore(self, name: str, place: str, values: Array) -> Array:
        """The Hugging Face tensor `name` from the numbers of the GGUF tensor `place`."""
        if expert := _EXPERT.search(name):
            # all experts of a layer are one tensor there
            return np.asarray(values[int(expert[1])])
        if self.architecture == "llama" and ".attn_q." in place:
            return _halves(values, self.heads)
        if self.architecture == "llama" and ".attn_k." in place:
            return _halves(values, self.key_heads)
        if self.architecture in _SHIFTED and place.endswith("norm.weight"):
            # in single precision, as the converter added it: bits are compared
            return values - np.float32(1)
        if self.architecture == "gpt2" and _TRANSPOSED.fullmatch(place):
            return values.T
        # a matrix of one row, which GGUF holds as a vector
        if "ffn_gate_inp_shexp" in place:
            return values[None]
        return values


def check_architecture(file: str, architecture: str) -> None:
    """Raises ConvertError for an architecture that is not listed."""
    if architecture not in ARCHITECTURES:
        raise ConvertError(
            f"{file} has the architecture '{architecture}', which cannot be read from GGUF",
            hint=f"known: {', '.join(ARCHITECTURES)};"
            " or name the original safetensors directory as `source`",
        )


def layout(architecture: str, config: Any) -> Layout:
    """`config` is transformers'. Raises ConvertError for an architecture that is not listed."""
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    check_architecture("the file", architecture)
    heads = int(config.num_attention_heads)
    key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    names = gguf.get_tensor_name_map(kinds[architecture], int(config.num_hidden_layers))
    return Layout(architecture, names, heads, key_heads)


def _halves(values: Array, heads: int) -> Array:
    """Rows of each head from pairs to (first halves, second halves), as transformers has them."""
    pairs = values.reshape(heads, -1, 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)
