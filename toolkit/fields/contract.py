"""The declared contract of a user's model: what it must take and give to be served to clients.

Which tensors and capabilities a contract has is in `toolkit.contract`.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from toolkit.contract import INTERFACES, Shape
from toolkit.fields.strict import Many, Strict
from toolkit.fields.tensors import Input, Output
from toolkit.finding import FieldFinding

# type checkers cannot evaluate a Literal that is made from a table
if TYPE_CHECKING:
    Capability = str
    InterfaceName = str
else:
    _DECLARABLE = [(*one.capabilities, *one.further) for one in INTERFACES.values()]
    Capability = Literal[tuple(name for names in _DECLARABLE for name in names)]
    InterfaceName = Literal[tuple(INTERFACES)]


class Image(Strict):
    """The bounds and defaults of image requests."""

    width: int = Field(ge=8, description="In pixels, for requests that do not set it.")
    height: int = Field(ge=8, description="In pixels, for requests that do not set it.")
    multiple_of: int = Field(
        default=8, ge=1, description="Width and height must be multiples of this number."
    )
    max_size: int = Field(ge=8, description="The maximum of width and height, in pixels.")
    steps: int = Field(default=25, ge=1, description="For requests that do not set it.")
    max_steps: int = Field(
        default=100, ge=1, description="The maximum number of steps of a request."
    )
    guidance: float = Field(
        default=7.5, ge=0, le=100, description="For requests that do not set it."
    )
    max_count: int = Field(
        default=4, ge=1, description="The maximum number of images of a request."
    )


class Contract(Strict):
    """The facts that the gateway needs about a user's own model."""

    kind: InterfaceName = Field(description="The kind of model that clients see.")
    capabilities: Many[Capability] | None = Field(
        default=None, description="Default: `chat` and `completion`, or what the kind is for."
    )
    context_length: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of tokens. Required for all kinds except `diffusion`.",
    )
    dimensions: int | None = Field(
        default=None, ge=1, description="Length of a vector, for `embedding`."
    )
    image: Image | None = Field(default=None, description="Limits, for `diffusion`.")
    cancel: str | None = Field(
        default=None,
        description="For `llm`: the model that takes cancel requests, with the input `cancel`.",
    )


def contract_findings(
    contract: Contract,
    inputs: Mapping[str, Input],
    outputs: Mapping[str, Output],
    batched: bool,
) -> Iterator[FieldFinding]:
    """Everything in which declared tensors differ from what the contract says."""
    interface = INTERFACES[contract.kind]
    kind = f"the contract '{contract.kind}'"
    yield from _needed(contract)
    if batched != interface.batched:
        fix = "set max_batch_size to 1 or more" if interface.batched else "set max_batch_size to 0"
        words = "have a batch dimension" if interface.batched else "have no batch dimension"
        yield ("max_batch_size",), f"{kind} requires that tensors {words}", fix
    known = {**interface.required, **interface.optional}
    for name, tensor in inputs.items():
        if name not in known:
            # an optional one is harmless: the gateway leaves it out
            if not tensor.optional:
                problem = f"{kind} does not have this tensor, so requests cannot set it"
                yield ("inputs", name), problem, f"make it optional; known: {', '.join(known)}"
            continue
        yield from _compare(("inputs", name), tensor, known[name], contract, kind)
        if name in interface.optional and not tensor.optional:
            yield ("inputs", name), f"{kind} may omit it", "add optional: true"
    for name in interface.required:
        if name not in inputs:
            yield ("inputs",), f"{kind} needs the input '{name}'", _declare(name, known[name])
    for name, shape in interface.outputs.items():
        if name not in outputs:
            yield ("outputs",), f"{kind} needs the output '{name}'", _declare(name, shape)
        else:
            yield from _compare(("outputs", name), outputs[name], shape, contract, kind)


def _needed(contract: Contract) -> Iterator[FieldFinding]:
    interface = INTERFACES[contract.kind]
    for parameter in interface.parameters:
        field = parameter.removeprefix("toolkit.")
        if getattr(contract, field) is None:
            yield ("contract", field), f"is missing for kind '{contract.kind}'", f"add `{field}: …`"
    if contract.image:
        yield from _image_findings(contract.image)
    known = (*interface.capabilities, *interface.further)
    for index, capability in enumerate(contract.capabilities or ()):
        if capability not in known:
            place = ("contract", "capabilities", index)
            text = f"a model of kind '{contract.kind}' does not have this capability"
            yield place, text, f"known: {', '.join(known)}"


def _image_findings(image: Image) -> Iterator[FieldFinding]:
    """Defaults outside the limits: every request without a size or steps would be refused."""
    for side in ("width", "height"):
        value, place = getattr(image, side), ("contract", "image", side)
        if value > image.max_size:
            yield place, f"is {value}, more than max_size {image.max_size}", None
        if value % image.multiple_of:
            text = f"is {value}, which is not a multiple of multiple_of {image.multiple_of}"
            yield place, text, None
    if image.steps > image.max_steps:
        text = f"is {image.steps}, more than max_steps {image.max_steps}"
        yield ("contract", "image", "steps"), text, None


def _compare(
    place: tuple[str, str],
    tensor: Output,
    shape: Shape,
    contract: Contract,
    kind: str,
) -> Iterator[FieldFinding]:
    name, dims = shape
    # -2 in `toolkit.contract` stands for the entry's own `dimensions`
    if dims == (-2,):
        dims = (contract.dimensions,) if contract.dimensions else tensor.dims
    if tensor.type != name:
        yield (*place, "type"), f"{kind} requires {name}, not {tensor.type}", f"write type: {name}"
    # exact: the gateway sends and reads these shapes, -1 included
    if tensor.dims != dims:
        actual, right = list(tensor.dims), list(dims)
        yield (*place, "dims"), f"{kind} requires {right}, not {actual}", f"write dims: {right}"


def _declare(name: str, shape: Shape) -> str:
    kind, dims = shape
    shown = "[dimensions]" if dims == (-2,) else str(list(dims))
    return f"add {name}: {{type: {kind}, dims: {shown}}}"
