"""Converts packed 4-bit weights of compressed-tensors to AutoAWQ's layout, for other engines.

The numbers are unchanged; only their order changes, and zero points are always written.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from toolkit.quantize.events import Events, Job, work
from toolkit.quantize.packing import pack, unpack
from toolkit.quantize.written import check_written

_MIDDLE = 8
"""What symmetric weights store for 0."""


def main() -> None:
    """The worker's entry point, called by `toolkit.quantize.process`."""
    work(_run)


def _run(job: Job, events: Events) -> Job:
    with events.step("repack for AutoAWQ", unit="files"):
        repack(Path(job["folder"]), job["group_size"], job["symmetric"])
        check_written(Path(job["source"]), Path(job["folder"]), job["smooths"])
    return {}


def repack(folder: Path, group_size: int, symmetric: bool) -> None:
    """Rewrites a directory's weights and config in place, one file in memory at a time."""
    places = _places(folder)
    fresh = {}
    for file in sorted(set(places.values())):
        names = [name for name, place in places.items() if place == file]
        if tensors := _repack_all(names, places, symmetric):
            # beside, never in place: the file is a hard link to the one that the cache keeps
            fresh[file] = file.with_suffix(".repacking")
            save_file(tensors, fresh[file], metadata={"format": "pt"})
    for file in set(
        places.values()
    ):  # only now, because the parts of a layer may be in several files
        # a shard can hold nothing but parts of layers whose packed values are in another
        fresh[file].replace(file) if file in fresh else file.unlink()
    _rename_in_index(folder / "model.safetensors.index.json", folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "awq",
        "bits": 4,
        "group_size": group_size,
        # the GEMM kernels always read zero points, so symmetric weights get 8s
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
        # parts are read with their layer's packed values, above, wherever they are
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
        # the layout has float16 only, and vLLM's perplexity was the same after repacking (34.45)
        f"{layer}.scales": scales.t().to(torch.float16).contiguous(),
    }


def _rename_in_index(index: Path, folder: Path) -> None:
    if not index.exists():
        return
    content: dict[str, Any] = json.loads(index.read_text())
    content["weight_map"] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as source:
            content["weight_map"] |= dict.fromkeys(source.keys(), file.name)
    index.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
