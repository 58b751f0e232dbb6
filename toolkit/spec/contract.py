"""The declared contract of a user's model: what it must take and give to be served to clients.

The tensors are those of python_backends/README.md, contract version 1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from toolkit.finding import FieldFinding
from toolkit.spec.strict import Many, Strict
from toolkit.spec.tensors import Input, Output

Capability = Literal[
    "chat", "completion", "tools", "reasoning", "infill", "embedding", "rerank", "image"
]


class Image(Strict):
    """What a request for images may ask for, and what it gets by default."""

    width: int = Field(ge=8, description="Pixels, when a request names none.")
    height: int = Field(ge=8, description="Pixels, when a request names none.")
    multiple_of: int = Field(default=8, ge=1, description="Both sides are multiples of it.")
    max_size: int = Field(ge=8, description="The longest side.")
    steps: int = Field(default=25, ge=1, description="When a request names none.")
    max_steps: int = Field(default=100, ge=1, description="At most.")
    guidance: float = Field(default=7.5, ge=0, description="When a request names none.")
    max_count: int = Field(default=4, ge=1, description="Images of one request at most.")


class Contract(Strict):
    """What the gateway learns of a user's own model."""

    kind: Literal["llm", "embedding", "rerank", "diffusion"] = Field(
        description="As which kind clients reach it."
    )
    capabilities: Many[Capability] | None = Field(
        default=None, description="Default: `chat` and `completion`, or what the kind is for."
    )
    context_length: int | None = Field(
        default=None, ge=1, description="Tokens; needed for all kinds but `diffusion`."
    )
    dimensions: int | None = Field(
        default=None, ge=1, description="Length of a vector, for `embedding`."
    )
    image: Image | None = Field(default=None, description="Limits, for `diffusion`.")
    cancel: str | None = Field(
        default=None,
        description="For `llm`: the model that takes cancel requests, with the input `cancel`.",
    )


@dataclass(frozen=True, slots=True)
class Tensors:
    """`required` must be declared so, `optional` may be; outputs must be there. -2 is any fixed
    length, the contract's `dimensions`."""

    required: Mapping[str, tuple[str, tuple[int, ...]]]
    optional: Mapping[str, tuple[str, tuple[int, ...]]]
    outputs: Mapping[str, tuple[str, tuple[int, ...]]]
    batched: bool
    decoupled: bool = False


_TEXT = ("STRING", (1,))
_TRUNCATE = {"truncate": ("BOOL", (1,))}
_COUNT = {"num_tokens": ("INT32", (1,))}
_INT = ("INT32", (1,))
CONTRACTS = {
    "llm": Tensors(
        {"prompt": _TEXT, "sampling_parameters": _TEXT},
        {"reply": _TEXT},
        {"event": ("STRING", (-1,))},
        batched=False,
        decoupled=True,
    ),
    "embedding": Tensors(
        {"text": _TEXT},
        {**_TRUNCATE, "token_ids": ("INT32", (-1,))},
        {"embedding": ("FP32", (-2,)), **_COUNT},
        batched=True,
    ),
    "rerank": Tensors(
        {"query": _TEXT, "document": _TEXT},
        _TRUNCATE,
        {"score": ("FP32", (1,)), **_COUNT},
        batched=True,
    ),
    "diffusion": Tensors(
        {"prompt": _TEXT, "count": _INT},
        {
            "negative_prompt": _TEXT,
            "guidance": ("FP32", (1,)),
            "seed": ("INT64", (1,)),
            **dict.fromkeys(("steps", "width", "height", "stop_after"), _INT),
        },
        {"image": ("STRING", (-1,))},
        batched=False,
    ),
}
CAPABILITIES = {
    "llm": ("chat", "completion"),
    "embedding": ("embedding",),
    "rerank": ("rerank",),
    "diffusion": ("image",),
}
_EXTRA = ("tools", "reasoning", "infill")


def contract_findings(
    contract: Contract,
    inputs: Mapping[str, Input],
    outputs: Mapping[str, Output],
    batched: bool,
) -> Iterator[FieldFinding]:
    """Everything in which declared tensors differ from what the contract says."""
    wanted = CONTRACTS[contract.kind]
    kind = f"the contract '{contract.kind}'"
    yield from _needed(contract)
    if batched != wanted.batched:
        fix = "set max_batch_size to 1 or more" if wanted.batched else "set max_batch_size to 0"
        words = "have a batch dimension" if wanted.batched else "have no batch dimension"
        yield ("max_batch_size",), f"{kind} says that its tensors {words}", fix
    known = {**wanted.required, **wanted.optional}
    for name, tensor in inputs.items():
        if name not in known:
            if not tensor.optional:
                problem = f"{kind} has no such tensor, so no request could fill it"
                yield ("inputs", name), problem, f"make it optional; known: {', '.join(known)}"
            continue
        yield from _compare(("inputs", name), tensor, known[name], contract, kind)
        if name in wanted.optional and not tensor.optional:
            yield ("inputs", name), f"{kind} leaves it out when it can", "add optional: true"
    for name in wanted.required:
        if name not in inputs:
            yield ("inputs",), f"{kind} needs the input '{name}'", _declare(name, known[name])
    for name, shape in wanted.outputs.items():
        if name not in outputs:
            yield ("outputs",), f"{kind} needs the output '{name}'", _declare(name, shape)
        else:
            yield from _compare(("outputs", name), outputs[name], shape, contract, kind)


def _needed(contract: Contract) -> Iterator[FieldFinding]:
    needs = {
        "embedding": ("context_length", "dimensions"),
        "llm": ("context_length",),
        "rerank": ("context_length",),
        "diffusion": ("image",),
    }
    for field in needs[contract.kind]:
        if getattr(contract, field) is None:
            yield ("contract", field), f"is missing for kind '{contract.kind}'", f"add `{field}: …`"
    for index, capability in enumerate(contract.capabilities or ()):
        able = (*CAPABILITIES[contract.kind], *(_EXTRA if contract.kind == "llm" else ()))
        if capability not in able:
            known = ", ".join(able)
            place = ("contract", "capabilities", index)
            yield place, f"a model of kind '{contract.kind}' cannot do that", f"known: {known}"


def _compare(
    place: tuple[str, str],
    tensor: Output,
    wanted: tuple[str, tuple[int, ...]],
    contract: Contract,
    kind: str,
) -> Iterator[FieldFinding]:
    name, dims = wanted
    if dims == (-2,):
        dims = (contract.dimensions,) if contract.dimensions else tensor.dims
    if tensor.type != name:
        yield (*place, "type"), f"{kind} says {name}, not {tensor.type}", f"write type: {name}"
    if tensor.dims != dims:
        found, right = list(tensor.dims), list(dims)
        yield (*place, "dims"), f"{kind} says {right}, not {found}", f"write dims: {right}"


def _declare(name: str, wanted: tuple[str, tuple[int, ...]]) -> str:
    kind, dims = wanted
    shown = "[dimensions]" if dims == (-2,) else str(list(dims))
    return f"add {name}: {{type: {kind}, dims: {shown}}}"
