"""A directory of PyTorch pickles → the same tensors as safetensors.

Pickles can run code; here they are only ever loaded weights-only, which can make tensors and
nothing else. Invariant: every tensor that is written was read again and is the same bit for bit.
"""

import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import safe_open

from toolkit.convert.parity import Check, settle
from toolkit.convert.quiet import quiet
from toolkit.errors import ConvertError
from toolkit.progress import Progress

PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_NOT_WEIGHTS = {"training_args.bin", "optimizer.pt", "scheduler.pt", "optimizer.bin"}
_KEPT = ("*.json", "*.jinja", "*.txt", "*.model")
_WRAPPERS = ("state_dict", "model", "module")


def pickles(folder: Path) -> list[Path]:
    """The files that hold weights, in order; a file stands for itself."""
    if folder.is_file():
        return (
            [folder] if folder.match("*.*") and folder.suffix in {p[1:] for p in PATTERNS} else []
        )
    found = {file for pattern in PATTERNS for file in folder.glob(pattern)}
    return sorted(file for file in found if file.name not in _NOT_WEIGHTS)


def convert_pickles(source: Path, place: Path, progress: Progress, shard_size: str) -> None:
    """Writes `*.safetensors` and everything else that stands beside the pickles.

    Raises ConvertError for a pickle that holds anything but tensors, and for a truncated one.
    """
    files = pickles(source)
    if not files:
        raise ConvertError(f"{source} holds no pickled weights", hint=", ".join(PATTERNS))
    tensors: dict[str, torch.Tensor] = {}
    with progress.step("read pickles", total=len(files), unit="files") as step:
        for file in files:
            tensors |= _load(file)
            step.advance()
    with progress.step("write safetensors", unit="files"), quiet():
        save_torch_state_dict(tensors, place, max_shard_size=shard_size)
    if source.is_dir():
        for pattern in _KEPT:
            for file in source.glob(pattern):
                if not file.name.endswith(".bin.index.json"):
                    shutil.copyfile(file, place / file.name)
    _compare(tensors, place)


def _load(file: Path) -> dict[str, torch.Tensor]:
    try:
        with quiet():
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConvertError(
            f"{file} holds more than tensors, and loading that could run code: "
            f"{str(error).splitlines()[0]}",
            hint="it was not loaded; ask its author for safetensors",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ConvertError(
            f"{file} is no readable PyTorch file: {str(error).splitlines()[0]}",
            hint="is it cut short?",
        ) from error
    for name in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    found = {name: t for name, t in dict(content).items() if isinstance(t, torch.Tensor)}
    if not found:
        raise ConvertError(f"{file} holds no named tensors")
    return found


def _compare(tensors: dict[str, torch.Tensor], place: Path) -> None:
    """Tied tensors are written once, under one of their names."""
    seen: set[tuple[int, torch.Size]] = set()
    wrong = 0
    for file in sorted(place.glob("*.safetensors")):
        with safe_open(file, framework="pt") as written:
            for name in written.keys():  # noqa: SIM118  not a mapping
                wrong += not torch.equal(written.get_tensor(name), tensors[name].contiguous())
                seen.add((tensors[name].data_ptr(), tensors[name].shape))
    wrong += sum((t.data_ptr(), t.shape) not in seen for t in tensors.values())
    settle(
        Check("pickle to safetensors", "tensors that are not bit for bit the same", wrong, 0),
        f"{wrong} tensors came out differently",
    )
