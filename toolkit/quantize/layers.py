"""Selects the linear layers to quantize, without those of `--ignore`, and checks the result.

Pure. Invariant: quantized = every linear layer − what is ignored. Embeddings, `lm_head` and routers
never are. vLLM fuses some layers into one, so those are left out together or not at all.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from toolkit.convert.safetensors_file import Tensor
from toolkit.errors import QuantizeError
from toolkit.quantize.methods import NEVER_QUANTIZED, is_ignored, linear_inputs

HEAD = "lm_head"
"""Never quantized, and not in the files where it shares its weight with the embedding."""
FUSED = (
    ("q_proj", "k_proj", "v_proj"),
    ("gate_proj", "up_proj"),
    ("w1", "w3"),
    ("q_a_proj", "kv_a_proj_with_mqa"),
    ("in_proj_qkv", "in_proj_z"),
    ("in_proj_b", "in_proj_a"),
)
"""Layers of one block that vLLM 0.32 loads as one (its models' `packed_modules_mapping`)."""
_EXPERT = re.compile(r"(.*\.experts)\.\d+\.")
_SCALE = ".weight_scale"
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Layers:
    """Names of linear layers. `inputs`: name → input width, of those to be quantized."""

    inputs: dict[str, int]
    left_out: tuple[str, ...]


def select_layers(tensors: Mapping[str, Tensor], ignore: Collection[str]) -> Layers:
    """Divides a checkpoint's linear layers by `ignore`.

    Raises QuantizeError for an entry that matches nothing or is not a valid pattern, for an
    `ignore` that splits layers which vLLM fuses, and when nothing is left to quantize.
    """
    inputs = linear_inputs(tensors, ())
    check_ignore(inputs, ignore, {name.rpartition(".")[0] for name in tensors})
    left_out = tuple(sorted(name for name in inputs if is_ignored(name, ignore)))
    check_fused(inputs, left_out)
    kept = {name: width for name, width in inputs.items() if name not in left_out}
    if not kept:
        raise QuantizeError("no linear layer is left to quantize", hint="shorten --ignore")
    return Layers(kept, left_out)


def check_ignore(
    layers: Collection[str], ignore: Collection[str], modules: Collection[str] = ()
) -> None:
    """Raises QuantizeError for entries of `ignore` that match no layer.

    `modules` are all of the model's modules: an embedding may be named, although it stays float
    anyway.
    """
    # HEAD stands apart: where it shares its weight with the embedding, no file names it
    known = {*layers, HEAD, *filter(NEVER_QUANTIZED.search, modules)}
    for entry in ignore:
        try:
            # a wrong pattern would otherwise be reported as one that matches nothing
            re.compile(entry.removeprefix("re:") if entry.startswith("re:") else "")
        except re.error as error:
            raise QuantizeError(
                f"--ignore {entry!r} is not a valid pattern: {error}",
                hint="use the syntax of Python's module re",
            ) from error
    unmatched = [e for e in ignore if not any(is_ignored(name, (e,)) for name in known)]
    if unmatched:
        ends = sorted({name.rpartition(".")[2] for name in layers})
        raise QuantizeError(
            f"--ignore {', '.join(unmatched)} matches no linear layer of this model",
            hint=f"an entry is a full name, the end of a name after a dot, or "
            f"re:PATTERN; the names of this model end in {', '.join(ends[:12])}",
        )


def check_fused(layers: Collection[str], left_out: Collection[str]) -> None:
    """Raises QuantizeError when `left_out` holds some but not all layers of a fused group."""
    for group in _groups(layers):
        out = [name for name in group if name in left_out]
        if out and len(out) < len(group):
            rest = [name for name in group if name not in left_out]
            raise QuantizeError(
                f"--ignore excludes {_shown(out)} but not {_shown(rest)}; "
                "vLLM loads them as one layer",
                hint="exclude all of them or none",
            )


def _groups(layers: Collection[str]) -> list[list[str]]:
    """Layers that are quantized alike or not at all: fused ones, and all experts of a block."""
    parents: dict[str, set[str]] = defaultdict(set)
    experts: dict[str, list[str]] = defaultdict(list)
    for name in layers:
        parent, _, end = name.rpartition(".")
        parents[parent].add(end)
        if match := _EXPERT.match(name):
            experts[match[1]].append(name)
    fused = [
        [f"{parent}.{end}".lstrip(".") for end in group if end in ends]
        for parent, ends in parents.items()
        for group in FUSED
    ]
    return [group for group in (*fused, *experts.values()) if len(group) > 1]


def quantized_layers(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the layers that a written checkpoint holds in quantized form."""
    # each scheme of compressed-tensors writes a scale; what the packed weights are called differs
    return sorted(name.removesuffix(_SCALE) for name in tensors if name.endswith(_SCALE))


def check_quantized(layers: Layers, tensors: Mapping[str, Tensor]) -> list[str]:
    """What the written checkpoint `tensors` holds quantized, when that is what was asked for.

    Raises QuantizeError that names the layers which differ. A name may have gained a prefix.
    """
    found = quantized_layers(tensors)
    ends = {end for name in found for end in _ends(name)}
    float_still = [name for name in layers.inputs if name not in ends]
    if float_still:
        raise QuantizeError(
            f"{len(float_still)} of {len(layers.inputs)} layers stayed in float: "
            f"{_shown(float_still)}",
            hint="the library does not quantize this kind of layer; nothing was kept. "
            "To accept that, exclude them with --ignore",
        )
    if wrong := [name for name in (*layers.left_out, HEAD) if name in ends]:
        raise QuantizeError(f"{_shown(wrong)} was quantized although --ignore excludes it")
    return found


def _ends(name: str) -> list[str]:
    """A dotted name and its ends: a.b.c, b.c, c."""
    parts = name.split(".")
    return [".".join(parts[place:]) for place in range(len(parts))]


def _shown(names: Collection[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(list(names)[:_SHOWN])}{more}"
