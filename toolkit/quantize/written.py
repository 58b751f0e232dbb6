"""Compares each tensor of a quantized checkpoint with its source, from the files of both.

Invariant: no tensor is left out or added; what was not quantized is bit for bit the source's, or
the source's in the number type that config.json names, which engines compute with; each packed
matrix is its source within what its method rounds. Methods that smooth activations move
factors between norms and matrices: inside layers those are compared by the whole model's answers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from toolkit.convert.checkpoint import read_config
from toolkit.convert.safetensors_file import Tensor, listed, read_tensors
from toolkit.convert.strict import HARMLESS
from toolkit.errors import QuantizeError
from toolkit.quantize.packing import unpack, unpack_interleaved

_PARTS = {
    "weight_packed",
    "weight_scale",
    "weight_zero_point",
    "weight_shape",
    "weight_g_idx",
    "input_scale",
    "qweight",
    "qzeros",
    "scales",
}
_MOST_ERROR = 0.5
"""Largest relative error of one matrix. Rounding to 4 bits costs 0.1 to 0.2, and GPTQ, which makes
up for errors in other columns, up to 0.3; another matrix comes to 1.4."""


@dataclass(frozen=True, slots=True)
class _Files:
    """The tensors of a directory, read one at a time."""

    folder: Path
    tensors: dict[str, Tensor]

    def read(self, name: str) -> Any:
        with safe_open(self.folder / self.tensors[name].file, framework="pt") as file:
            return file.get_tensor(name)


def check_written(source: Path, written: Path, smooths: bool) -> list[str]:
    """The names of the quantized layers in the written files. Raises QuantizeError if a tensor is
    missing or was changed."""
    before, after = (_Files(folder, read_tensors(folder)) for folder in (source, written))
    served = _served_type(source)
    plain = {name for name in after.tensors if name.rpartition(".")[2] not in _PARTS}
    packed = {name.rpartition(".")[0] for name in after.tensors.keys() - plain}
    weights = {f"{layer}.weight" for layer in packed}
    _check_names(before, plain | weights)
    for name in sorted(plain - weights):
        if not (smooths and ".layers." in name) and name in before.tensors:
            _check_kept(name, before.read(name), after.read(name), served)
    for layer in sorted(packed):
        _check_packed(layer, before, after, smooths)
    return sorted(packed)


def _check_kept(name: str, source: Any, kept: Any, served: Any) -> None:
    # any other narrower type would round these numbers further
    wider = torch.promote_types(source.dtype, kept.dtype)
    if kept.dtype not in {wider, served}:
        raise QuantizeError(
            f"{name} was not quantized, and is {kept.dtype} instead of {source.dtype}",
            hint="nothing was kept",
        )
    # the bytes: NaN is not equal to itself, and -0.0 equals 0.0
    if kept.shape != source.shape or not torch.equal(_bytes(kept), _bytes(source.to(kept.dtype))):
        raise QuantizeError(f"{name} was not quantized, and differs from the source's")


def _bytes(tensor: Any) -> Any:
    return tensor.reshape(-1).view(torch.uint8)


def _served_type(folder: Path) -> Any:
    """The number type in the source's config.json; None without one."""
    config = read_config(folder)
    text = config.get("text_config") or {}
    for settings in (config, text):
        # transformers 4 wrote `torch_dtype`
        if name := settings.get("dtype") or settings.get("torch_dtype"):
            return getattr(torch, str(name).removeprefix("torch."), None)
    return None


def _check_names(before: _Files, after: set[str]) -> None:
    """A head that is tied to the embeddings may be in both, in one, or in neither."""
    tied = {"lm_head.weight"} if "lm_head.weight" not in before.tensors else set()
    lost = {name for name in before.tensors if not HARMLESS.search(name)} - after
    if lost == {"lm_head.weight"} and _is_tied(before):
        lost = set()
    added = after - set(before.tensors) - tied
    for names, what in ((lost, "lacks"), (added, "contains, in addition to the source,")):
        if names:
            raise QuantizeError(
                f"the quantized checkpoint {what} {listed(sorted(names))}", hint="nothing was kept"
            )


def _is_tied(files: _Files) -> bool:
    embeddings = [name for name in files.tensors if name.endswith("embed_tokens.weight")]
    head = files.read("lm_head.weight")
    return any(torch.equal(head, files.read(name)) for name in embeddings)


def _check_packed(layer: str, before: _Files, after: _Files, smooths: bool) -> None:
    source = before.read(f"{layer}.weight").float()
    found = _multiplied_out(layer, after)
    if found.shape != source.shape:
        raise QuantizeError(
            f"{layer} is {list(found.shape)} in the result and {list(source.shape)} in the source"
        )
    # the norm before it has taken its factors, so it is not the source's, rounded
    if smooths:
        return
    error = float((found - source).norm() / source.norm().clamp(min=1e-30))
    # written so that NaN is refused, too
    if not error <= _MOST_ERROR:
        raise QuantizeError(
            f"{layer} differs by {error:.3g} from its source, more than {_MOST_ERROR}",
            hint="nothing was kept",
        )


def _multiplied_out(layer: str, files: _Files) -> Any:
    """FP32 `[outputs, inputs]` of a written matrix, in any of the layouts written here."""

    def part(name: str) -> Any:
        return files.read(f"{layer}.{name}")

    if f"{layer}.qweight" in files.tensors:
        scales = part("scales").float()
        values, zeros = (unpack_interleaved(part(name)) for name in ("qweight", "qzeros"))
        group = values.shape[0] // scales.shape[0]
        spread = [each.repeat_interleave(group, dim=0) for each in (zeros, scales)]
        return ((values - spread[0]) * spread[1]).t()
    scales = part("weight_scale").float()
    if f"{layer}.weight_packed" not in files.tensors:
        return part("weight").float() * scales
    outputs, inputs = (int(size) for size in part("weight_shape"))
    values = unpack(part("weight_packed"))[:, :inputs].float()
    # symmetric weights are stored plus 8, without zero points
    zeros = torch.full_like(scales, 8.0)
    if f"{layer}.weight_zero_point" in files.tensors:  # packed along the outputs
        packed = part("weight_zero_point").t().contiguous()
        zeros = unpack(packed)[:, :outputs].t().float()
    group = inputs // scales.shape[1]
    spread = [each.repeat_interleave(group, dim=1) for each in (zeros, scales)]
    return (values - spread[0]) * spread[1]
