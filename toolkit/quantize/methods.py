"""The methods to quantize a language model: bits, scales, requirements.

Data and arithmetic only. `recipe` of the worker turns a method into the library's own objects.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from toolkit.convert.safetensors_file import Tensor
from toolkit.errors import QuantizeError

GROUP_SIZES = (128, 64, 32)
"""What engines have kernels for; the largest that fits is taken."""
NEVER_QUANTIZED = re.compile(
    r"(^|\.)(lm_head|embed\w*|wte|wpe|\w*embeddings?|relative_attention_bias"
    r"|gate|router|shared_expert_gate)(\.|$)"
)
"""Heads, embeddings and the routers of experts: engines keep them in float."""
_QUANTIZED = re.compile(r"\.(weight_packed|weight_scale|qweight|qzeros|weight_zero_point)$")


@dataclass(frozen=True, slots=True)
class Method:
    """`grouped` weights have one scale for `group_size` inputs; others one for each output."""

    name: str
    about: str
    bits: int
    grouped: bool
    reads_text: bool
    smooths: bool


METHODS = {
    method.name: method
    for method in (
        Method("awq", "4-bit weights, scaled by the activations", 4, True, True, True),
        Method(
            "gptq",
            "4-bit weights, each error compensated in the following columns",
            4,
            True,
            True,
            False,
        ),
        # the only one that is faster than bfloat16 on CPUs (vLLM 0.32: 1.28 times with one stream)
        Method("int8", "8-bit weights and activations (SmoothQuant, GPTQ)", 8, False, True, True),
        # correct on CPUs but too slow: a product of 1×576×1536 takes 9.7 ms, in bfloat16 0.11 ms
        Method("fp8", "FP8 weights and activations, scaled at run time", 8, False, False, False),
        Method("int4-rtn", "4-bit weights, rounded to nearest", 4, True, False, False),
    )
}

GRAPH_METHODS = {
    "int8-dynamic": "8-bit weights, activations quantized at run time",
    "int8-static": "8-bit weights, activations quantized with calibrated ranges",
    "fp16": "half precision; inputs and outputs keep their types",
}
"""Of ONNX models."""


def find_method(name: str) -> Method:
    """Raises QuantizeError for a name that is not in `METHODS`."""
    if name not in METHODS:
        raise QuantizeError(
            f"the method '{name}' does not exist", hint=f"known: {', '.join(METHODS)}"
        )
    return METHODS[name]


def linear_inputs(tensors: Mapping[str, Tensor], ignore: Collection[str]) -> dict[str, int]:
    """Input width of every linear layer that is not left out, by its module's name.

    A linear layer's weight is `[outputs, inputs]`; embeddings have that shape too, and their names
    tell them apart.
    """
    return {
        name: tensor.shape[1]
        for tensor in tensors.values()
        if (name := tensor.name.removesuffix(".weight")) != tensor.name
        and len(tensor.shape) == 2
        and not NEVER_QUANTIZED.search(name)
        and not is_ignored(name, ignore)
    }


def is_ignored(module: str, ignore: Collection[str]) -> bool:
    """Whether a name or a `re:` pattern of `ignore` covers a module, as llm-compressor reads it."""
    return any(
        re.match(entry.removeprefix("re:"), module)
        if entry.startswith("re:")
        else module == entry or module.endswith(f".{entry}")
        for entry in ignore
    )


def choose_group_size(inputs: Mapping[str, int], requested: int | None) -> int:
    """The largest of `GROUP_SIZES` that divides every input width, or the requested one if it does.

    Raises QuantizeError that names the layers that prevent it.
    """
    # llm-compressor's presets have 128, which does not divide SmolLM2-135M's inputs of 576
    sizes = GROUP_SIZES if requested is None else (requested,)
    for size in sizes:
        if size > 0 and all(width % size == 0 for width in inputs.values()):
            return size
    size = sizes[-1]
    wrong = sorted(name for name, width in inputs.items() if size <= 0 or width % size)
    fitting = [n for n in GROUP_SIZES if all(width % n == 0 for width in inputs.values())]
    hint = f"--group-size {fitting[0]}" if fitting else "exclude them with --ignore, or use --int8"
    raise QuantizeError(
        f"a group size of {size} does not divide the input of {len(wrong)} layers: "
        f"{', '.join(f'{name} ({inputs[name]})' for name in wrong[:3])}",
        hint=hint,
    )


def quantized_already(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint's tensors are packed or scaled integers."""
    return any(_QUANTIZED.search(name) for name in tensors)
