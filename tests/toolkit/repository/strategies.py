"""Random ModelConfig messages: any field of the schema, nested, with any text."""

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def configs() -> st.SearchStrategy[ModelConfig]:
    return st.composite(lambda draw: _fill(draw, ModelConfig(), 0))()


def _fill(draw: st.DrawFn, message: Message, depth: int) -> Message:
    fields = list(message.DESCRIPTOR.fields)
    if not fields:
        return message
    for field in draw(st.lists(st.sampled_from(fields), unique_by=lambda f: f.name, max_size=4)):
        _set(draw, message, field, depth)
    return message


def _set(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    kind: Descriptor | None = field.message_type
    value = getattr(message, field.name)
    if kind is not None and kind.GetOptions().map_entry:
        inner = kind.fields_by_name["value"]
        for key in draw(st.lists(_scalar(kind.fields_by_name["key"]), max_size=2)):
            if inner.message_type is None:
                value[key] = draw(_scalar(inner))
            else:
                _fill(draw, value[key], depth + 1)
    elif kind is not None and depth < 3:
        for target in [value.add()] if field.is_repeated else [value]:
            target.SetInParent()
            _fill(draw, target, depth + 1)
    elif kind is None and field.is_repeated:
        value.extend(draw(st.lists(_scalar(field), max_size=3)))
    elif kind is None:
        setattr(message, field.name, draw(_scalar(field)))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[object]:
    kind = field.cpp_type
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        return st.integers(low, high)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return st.binary(max_size=8) if field.type == FieldDescriptor.TYPE_BYTES else _TEXT
    return st.floats(width=32, allow_nan=False, allow_infinity=False)
