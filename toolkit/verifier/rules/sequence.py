"""Sequence batching: control tensors, strategies, implicit state."""

from collections.abc import Iterator
from typing import TypeAlias

from toolkit.model_config import (
    TYPE_INT32,
    TYPE_INT64,
    TYPE_STRING,
    TYPE_UINT32,
    TYPE_UINT64,
    DataType,
    ModelSequenceBatching,
)
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule

Control: TypeAlias = ModelSequenceBatching.Control
_CORRID = Control.CONTROL_SEQUENCE_CORRID
_CORRID_TYPES = {TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32, TYPE_STRING}
_VALUES = ("int32_false_true", "fp32_false_true", "bool_false_true")


@rule("sequence", "Invalid sequence batching", Effect.REFUSED)
def sequence(model: Model) -> Iterator[ModelFinding]:
    """Each control input needs a unique name, and each kind of control may appear once.

    START, END and READY need exactly one pair of values (`int32_false_true`, `fp32_false_true` or
    `bool_false_true`). CORRID needs a `data_type` instead. `minimum_slot_utilization` must be
    between 0 and 1.
    """
    if not model.config.HasField("sequence_batching"):
        return
    batching = model.config.sequence_batching
    names: set[str] = set()
    kinds: set[int] = set()
    for index, tensor in enumerate(batching.control_input):
        path = f"sequence_batching.control_input[{index}]"
        if not tensor.name or tensor.name in names:
            text = (
                f"another control input is also named '{tensor.name}'"
                if tensor.name
                else "this control input has no name"
            )
            yield model.finding(f"{path}.name", text, "give each control input a unique name")
        names.add(tensor.name)
        for position, control in enumerate(tensor.control):
            where = f"{path}.control[{position}]"
            if control.kind in kinds:
                kind = Control.Kind.Name(control.kind)
                yield model.finding(
                    f"{where}.kind", f"{kind} appears twice", "remove one of the two"
                )
            kinds.add(control.kind)
            yield from _control(model, where, control)
    if not 0 <= batching.direct.minimum_slot_utilization <= 1:
        path = "sequence_batching.direct.minimum_slot_utilization"
        yield model.finding(
            path, "minimum_slot_utilization is not between 0 and 1", "write a fraction such as 0.5"
        )


def _control(model: Model, path: str, control: Control) -> Iterator[ModelFinding]:
    given = [name for name in _VALUES if getattr(control, name)]
    if control.kind == _CORRID:
        if given:
            text = f"CORRID needs a data_type, not {given[0]}"
            yield model.finding(f"{path}.{given[0]}", text, "write data_type: TYPE_UINT64")
        # the types of a correlation id in Triton's requests
        if control.data_type not in _CORRID_TYPES:
            text = "CORRID must be TYPE_UINT64, INT64, UINT32, INT32 or STRING"
            yield model.finding(f"{path}.data_type", text, "write data_type: TYPE_UINT64")
        return
    kind = Control.Kind.Name(control.kind)
    if len(given) != 1:
        text = f"{kind} needs exactly one of {', '.join(_VALUES)}, got {len(given)}"
        yield model.finding(path, text, "write int32_false_true: [ 0, 1 ]")
    elif len(getattr(control, given[0])) != 2:
        text = f"{given[0]} needs two values, for false and for true"
        yield model.finding(f"{path}.{given[0]}", text, f"write {given[0]}: [ 0, 1 ]")


@rule("sequence-state", "Invalid initial state", Effect.REFUSED)
def sequence_state(model: Model) -> Iterator[ModelFinding]:
    """An initial state needs a name and the type of its state.

    Its `data_file` must be in the model's `initial_state` folder.
    """
    for index, state in enumerate(model.config.sequence_batching.state):
        for position, initial in enumerate(state.initial_state):
            where = f"sequence_batching.state[{index}].initial_state[{position}]"
            if not initial.name:
                yield model.finding(where, "the initial state has no name", 'write name: "…"')
            if initial.data_type != state.data_type:
                text = f"the initial state of '{state.input_name}' has another type than the state"
                expected = DataType.Name(state.data_type)
                yield model.finding(f"{where}.data_type", text, f"write data_type: {expected}")
            path = model.folder / "initial_state" / initial.data_file
            if initial.data_file and not path.is_file():
                yield model.finding(
                    f"{where}.data_file",
                    f"the file {model.name}/initial_state/{initial.data_file} does not exist",
                    "add the file, or write zero_data: true",
                )


RULES = (sequence, sequence_state)
