"""Reads the arguments of vLLM's engine: their own types, and what its classes of settings add."""

import ast

from toolkit.engine_arguments.declarations import (
    CHOICES,
    LIMITS,
    Declarations,
    Declared,
    with_bounds,
)
from toolkit.engine_arguments.statements import (
    BOUNDS,
    annotated,
    command_line_options,
    numbers_taken,
    origin_of,
)

_IN_CODE = {
    "gpu_memory_utilization": {"gt": 0, "le": 1},
    "max_num_batched_tokens": {"ge": 1},
    "max_num_seqs": {"ge": 1},
    "tensor_parallel_size": {"ge": 1},
    "pipeline_parallel_size": {"ge": 1},
    "data_parallel_size": {"ge": 1},
    "max_loras": {"ge": 1},
    "max_cpu_loras": {"ge": 1},
    "max_logprobs": {"ge": -1},
    "swap_space": {"ge": 0},
    "cpu_offload_gb": {"ge": 0},
    "kv_cache_memory_bytes": {"gt": 0},
    "num_gpu_blocks_override": {"ge": 1},
    "master_port": {"ge": 1, "le": 65535},
}
"""Ranges that some versions check in code only, where a syntax tree does not show them."""
_SETTINGS_AS_DICT = {
    "speculative_config": "SpeculativeConfig",
    "quantization_config": "QuantizationConfigArgs",
    "diffusion_config": "DiffusionConfig",
    "watermark_config": "WatermarkConfig",
}
"""Arguments that are annotated as any dict, and the class that vLLM builds from it."""
_ONLY_OBJECTS = {"logging_config"}
"""Arguments that vLLM reads before it builds settings from a mapping: a file cannot set them."""


def read_arguments(tree: ast.Module, declarations: Declarations) -> dict[str, Declared]:
    """Argument → what is declared, of AsyncEngineArgs and its base. Raises ValueError if there are
    none.

    vLLM hands an argument on to a class of settings, where its range and often its choices are.
    """
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, Declared] = {}
    for name in ("EngineArgs", "AsyncEngineArgs"):
        if name not in classes:
            raise ValueError(f"there is no class {name}")
        options = dict(command_line_options(classes[name]))
        numbers = numbers_taken(classes[name])
        for argument, annotation, default in annotated(classes[name]):
            if argument.startswith("_") or "ClassVar" in ast.unparse(annotation):
                continue
            owner, field = origin_of(default) or options.get(argument, ("", ""))
            if not owner:
                owner, field = declarations.owner_of(argument), argument
            validator = declarations.validator_of(owner, field)
            kind = declarations.checked(annotation, validator)
            if argument in _SETTINGS_AS_DICT:
                kind = declarations.resolve(ast.Name(_SETTINGS_AS_DICT[argument])) + " | None"
            elif argument in _ONLY_OBJECTS:
                kind = "None"
            elif argument == "limit_mm_per_prompt" and declarations.knows(LIMITS):
                kind = LIMITS
            elif argument in numbers:
                kind = f"Literal[0, 1, 2, 3] | {kind}"
            found[argument] = _joined(argument, kind, declarations.fields(owner).get(field, "Any"))
    return dict(sorted(found.items()))


def _joined(argument: str, kind: str, inner: Declared) -> Declared:
    """The argument's own type, narrowed to the choices and with the range of the inner field."""
    bounds = {} if isinstance(inner, str) else {k: v for k, v in inner.items() if k in BOUNDS}
    within = inner if isinstance(inner, str) else str(inner["type"])
    if set(kind.split(" | ")) <= {"str", "None"} and within.startswith(CHOICES):
        kind = within if "None" in within or "None" not in kind else f"{within} | None"
    numeric = set(kind.split(" | ")) <= {"int", "float", "None"}
    return with_bounds(kind, (bounds or _IN_CODE.get(argument, {})) if numeric else {})
