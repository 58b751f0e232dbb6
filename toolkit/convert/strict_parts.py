"""Loads the parts of a diffusers pipeline strictly, as `strict` loads transformers models.

Invariant: a part that `load_part` returns has each of its parameters bit for bit as a second
reading of its safetensors files has it, and every tensor of the files has its place in it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from toolkit.convert.failures import refusing
from toolkit.convert.safetensors_file import Tensor, read_tensors
from toolkit.convert.strict import refuse_differences
from toolkit.errors import ConvertError

STEM = "diffusion_pytorch_model"
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_NAME = re.compile(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)(\.weight|\.bias)")


def check_part(kind: Any, folder: Path) -> dict[str, Tensor]:
    """Compares names and shapes of a part's tensors with its config, without reading weights.

    Returns the files' tensors. Raises ConvertError, naming the tensors, if they differ.
    """
    with refusing(f"{folder.parent.name}/{folder.name} cannot be loaded"):
        tensors = read_tensors(folder, STEM)
        if not tensors:
            raise ConvertError(
                f"{folder} does not contain safetensors weights",
                hint="name a directory with *.safetensors; `toolkit convert --to safetensors` "
                "reads GGUF files and pickles",
            )
        # a model without memory: only its names and shapes are wanted
        with torch.device("meta"):
            model = kind.from_config(kind.load_config(folder, local_files_only=True))
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    own = {_current(name): tensor.shape for name, tensor in tensors.items()}
    shapes = {
        (name, shape, expected[name])
        for name, shape in own.items()
        if name in expected and _flat(shape) != _flat(expected[name])
    }
    refuse_differences(folder, set(expected) - set(own), set(own) - set(expected), shapes)
    return tensors


def load_part(kind: Any, folder: Path, tensors: Mapping[str, Tensor]) -> Any:
    """The part in float32. Raises ConvertError if a loaded tensor differs from its file."""
    with refusing(f"{folder.parent.name}/{folder.name} cannot be loaded"):
        model = kind.from_pretrained(
            folder, torch_dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        state = model.state_dict()
        for tensor in tensors.values():
            with safe_open(folder / tensor.file, framework="pt") as source:
                value = source.get_tensor(tensor.name).to(torch.float32)
            # reshaped below, as the library does with matrices that were written as convolutions
            stored = state[_current(tensor.name)]
            if not torch.equal(stored.reshape(value.shape), value):
                raise ConvertError(
                    f"{folder.parent.name}/{folder.name}: {tensor.name} is not in the loaded model "
                    f"as it is in {tensor.file}"
                )
    return model.eval()


def _current(name: str) -> str:
    """The present name of a tensor in diffusers; files of 2022 have older names."""
    old = _OLD_NAME.fullmatch(name)
    return f"{old[1]}{_OLD_ATTENTION[old[2]]}{old[3]}" if old else name


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without the two 1s of a matrix that was written as a convolution."""
    return shape[:-2] if shape[-2:] == (1, 1) and len(shape) == 4 else shape
