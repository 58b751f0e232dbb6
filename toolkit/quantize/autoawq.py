"""Packed 4-bit weights of compressed-tensors → the layout that AutoAWQ wrote, for other engines.

The numbers stay the same; only their places change. In AutoAWQ's GEMM layout eight outputs share
an INT32, in the order 0 2 4 6 1 3 5 7 from the lowest bits up, and zero points are always written.
"""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from toolkit.quantize.events import Events, Job, work

_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
_SHIFTS = torch.arange(0, 32, 4, dtype=torch.int32)
_MIDDLE = 8
"""What symmetric weights store for 0."""


def main() -> None:
    """Called by `toolkit.quantize.process`."""
    work(_run)


def _run(job: Job, events: Events) -> Job:
    with events.step("repack for AutoAWQ", unit="files"):
        repack(Path(job["folder"]), job["group_size"], job["symmetric"])
        check: Any = import_module("toolkit.quantize.written").check_written
        check(Path(job["source"]), Path(job["folder"]), job["smooths"])
    return {}


def repack(folder: Path, group_size: int, symmetric: bool) -> None:
    """Rewrites a directory's weights and config in place, one file in memory at a time."""
    places = _places(folder)
    fresh = {}
    for file in sorted(set(places.values())):
        names = [name for name, place in places.items() if place == file]
        if tensors := _repack_all(names, places, symmetric):
            fresh[file] = file.with_suffix(".repacking")
            save_file(tensors, fresh[file], metadata={"format": "pt"})
    for file in set(places.values()):  # only now: a layer's parts may lie in several files
        fresh[file].replace(file) if file in fresh else file.unlink()
    _rename_in_index(folder / "model.safetensors.index.json", folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "awq",
        "bits": 4,
        "group_size": group_size,
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": config["quantization_config"]["ignore"] or None,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _places(folder: Path) -> dict[str, Path]:
    """The file of each tensor."""
    found: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as source:
            found |= dict.fromkeys(source.keys(), file)
    return found


def _read(name: str, places: Mapping[str, Path]) -> torch.Tensor:
    with safe_open(places[name], framework="pt") as source:
        tensor: torch.Tensor = source.get_tensor(name)
    return tensor


def _repack_all(
    names: Sequence[str], places: Mapping[str, Path], symmetric: bool
) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name in names:
        layer, _, part = name.rpartition(".")
        if part == "weight_packed":
            found |= _repack_layer(layer, places, symmetric)
        elif part not in {"weight_scale", "weight_zero_point", "weight_shape"}:
            found[name] = _read(name, places)
    return found


def _repack_layer(
    layer: str, places: Mapping[str, Path], symmetric: bool
) -> dict[str, torch.Tensor]:
    outputs, inputs = (int(size) for size in _read(f"{layer}.weight_shape", places))
    scales = _read(f"{layer}.weight_scale", places)
    weight = unpack(_read(f"{layer}.weight_packed", places))[:, :inputs]
    if symmetric:
        zeros = torch.full(scales.shape, _MIDDLE, dtype=torch.int32)
    else:
        packed = _read(f"{layer}.weight_zero_point", places)  # packed along the outputs
        zeros = unpack(packed.t().contiguous())[:, :outputs].t()
    return {
        f"{layer}.qweight": pack(weight.t()),
        f"{layer}.qzeros": pack(zeros.t()),
        f"{layer}.scales": scales.t().to(torch.float16).contiguous(),
    }


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """INT32 `[rows, n]`, eight values each from the lowest bits up → `[rows, 8 n]` from 0 to 15."""
    return ((packed.unsqueeze(-1) >> _SHIFTS) & 0xF).reshape(packed.shape[0], -1)


def pack(values: torch.Tensor) -> torch.Tensor:
    """`[rows, 8 n]` from 0 to 15 → INT32 `[rows, n]` in AutoAWQ's order."""
    ordered = values.reshape(values.shape[0], -1, 8)[:, :, list(_ORDER)].to(torch.int32)
    result = torch.zeros(ordered.shape[:2], dtype=torch.int32)
    for place in range(8):
        result |= ordered[:, :, place] << (4 * place)
    return result


def unpack_interleaved(packed: torch.Tensor) -> torch.Tensor:
    """AutoAWQ's INT32 `[rows, n]` → FP32 `[rows, 8 n]` from 0 to 15: the inverse of `pack`."""
    places = torch.tensor([_ORDER.index(place) for place in range(8)])
    found = (packed.unsqueeze(-1) >> _SHIFTS) & 0xF
    return found[..., places].reshape(packed.shape[0], -1).float()


def _rename_in_index(index: Path, folder: Path) -> None:
    if not index.exists():
        return
    content: dict[str, Any] = json.loads(index.read_text())
    content["weight_map"] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as source:
            content["weight_map"] |= dict.fromkeys(source.keys(), file.name)
    index.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
