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
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule

Control: TypeAlias = ModelSequenceBatching.Control
_CORRID = Control.CONTROL_SEQUENCE_CORRID
_CORRID_TYPES = {TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32, TYPE_STRING}
_VALUES = ("int32_false_true", "fp32_false_true", "bool_false_true")


@rule("sequence", "Sequence batching that fits no model", Effect.REFUSED)
def sequence(model: Model) -> Iterator[Hit]:
    """Each control input has a name of its own and each kind of control stands once.

    START, END and READY have exactly one pair of values (`int32_false_true`, `fp32_false_true` or
    `bool_false_true`); CORRID has a `data_type` instead. `minimum_slot_utilization` lies in 0 … 1.
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
                f"another control is called '{tensor.name}'" if tensor.name else "no name is given"
            )
            yield model.hit(f"{path}.name", text, "give each control input a name of its own")
        names.add(tensor.name)
        for position, control in enumerate(tensor.control):
            where = f"{path}.control[{position}]"
            if control.kind in kinds:
                kind = Control.Kind.Name(control.kind)
                yield model.hit(f"{where}.kind", f"{kind} stands twice", "remove one of the two")
            kinds.add(control.kind)
            yield from _control(model, where, control)
    if not 0 <= batching.direct.minimum_slot_utilization <= 1:
        path = "sequence_batching.direct.minimum_slot_utilization"
        yield model.hit(path, "minimum_slot_utilization is not in 0 … 1", "write a share, as 0.5")


def _control(model: Model, path: str, control: Control) -> Iterator[Hit]:
    given = [name for name in _VALUES if getattr(control, name)]
    if control.kind == _CORRID:
        if given:
            text = f"CORRID takes a data_type, not {given[0]}"
            yield model.hit(f"{path}.{given[0]}", text, "write data_type: TYPE_UINT64")
        if control.data_type not in _CORRID_TYPES:
            text = "CORRID is TYPE_UINT64, INT64, UINT32, INT32 or STRING"
            yield model.hit(f"{path}.data_type", text, "write data_type: TYPE_UINT64")
        return
    kind = Control.Kind.Name(control.kind)
    if len(given) != 1:
        text = f"{kind} needs one of {', '.join(_VALUES)}, here are {len(given)}"
        yield model.hit(path, text, "write int32_false_true: [ 0, 1 ]")
    elif len(getattr(control, given[0])) != 2:
        text = f"{given[0]} has two values, for false and for true"
        yield model.hit(f"{path}.{given[0]}", text, f"write {given[0]}: [ 0, 1 ]")


@rule("sequence-state", "State that cannot start", Effect.REFUSED)
def sequence_state(model: Model) -> Iterator[Hit]:
    """An initial state has a name and its state's type.

    Its `data_file` is read from the model's `initial_state` folder.
    """
    for index, state in enumerate(model.config.sequence_batching.state):
        for position, initial in enumerate(state.initial_state):
            where = f"sequence_batching.state[{index}].initial_state[{position}]"
            if not initial.name:
                yield model.hit(where, "this initial state has no name", 'write name: "…"')
            if initial.data_type != state.data_type:
                text = f"the initial state of '{state.input_name}' has another type than the state"
                wanted = DataType.Name(state.data_type)
                yield model.hit(f"{where}.data_type", text, f"write data_type: {wanted}")
            path = model.folder / "initial_state" / initial.data_file
            if initial.data_file and not path.is_file():
                yield model.hit(
                    f"{where}.data_file",
                    f"there is no file {model.name}/initial_state/{initial.data_file}",
                    "put it there, or write zero_data: true",
                )


RULES = (sequence, sequence_state)
