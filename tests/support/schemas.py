"""JSON schemas such as applications ask for, made by hypothesis."""

from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

NAMES = st.text('abcdefgh_äé "\\/\n\x00\x7f世😀', max_size=6) | st.sampled_from(
    ["title", "description", "default", "$comment", "type", "enum", "__proto__"]
)
_SCALARS = st.one_of(
    st.booleans(), st.none(), st.integers(-99, 99), st.text(max_size=5), st.just(1.5)
)


@st.composite
def _strings(draw: st.DrawFn) -> Schema:
    kind = draw(st.sampled_from(["plain", "bounded", "pattern", "format"]))
    if kind == "bounded":
        least = draw(st.integers(0, 3))
        return {"type": "string", "minLength": least, "maxLength": least + draw(st.integers(0, 5))}
    if kind == "pattern":
        return {"type": "string", "pattern": draw(st.sampled_from(["^[a-c]{2,4}$", "^(x|yy)$"]))}
    if kind == "format":
        named = ["date", "time", "date-time", "email", "uuid", "ipv4"]
        return {"type": "string", "format": draw(st.sampled_from(named))}
    return {"type": "string"}


@st.composite
def _numbers(draw: st.DrawFn) -> Schema:
    schema: Schema = {"type": draw(st.sampled_from(["integer", "number"]))}
    low = draw(st.none() | st.integers(-50, 50))
    if low is not None:
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
        if draw(st.booleans()):
            schema["maximum"] = low + draw(st.integers(1, 60))
    return schema


@st.composite
def _objects(draw: st.DrawFn, children: st.SearchStrategy[Schema]) -> Schema:
    properties = draw(st.dictionaries(NAMES, children, max_size=4))
    required = (
        draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    )
    schema: Schema = {"type": "object", "properties": properties, "required": required}
    extra = draw(st.sampled_from([None, None, False, True, {"type": "integer"}]))
    if extra is not None:
        schema["additionalProperties"] = extra
    if draw(st.integers(0, 5)) == 0:
        least = draw(st.integers(0, len(properties)))
        schema |= {"minProperties": least, "maxProperties": least + draw(st.integers(0, 3))}
        schema["maxProperties"] = max(schema["maxProperties"], len(required))
    return schema


def _loose(children: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    """Objects that never contradict each other."""
    named = st.dictionaries(NAMES, children, max_size=3)
    return named.map(lambda properties: {"type": "object", "properties": properties})


@st.composite
def _arrays(draw: st.DrawFn, children: st.SearchStrategy[Schema]) -> Schema:
    least = draw(st.integers(0, 2))
    most = least + draw(st.integers(0, 2))
    return {"type": "array", "items": draw(children), "minItems": least, "maxItems": most}


@st.composite
def _tables(draw: st.DrawFn, children: st.SearchStrategy[Schema]) -> Schema:
    keys = draw(st.sampled_from([{}, {"pattern": "^[a-c]+$"}, {"minLength": 1, "maxLength": 3}]))
    schema = {"type": "object", "additionalProperties": draw(children)}
    return schema | ({"propertyNames": keys} if keys else {})


def _nested(children: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    choices = st.lists(children, min_size=1, max_size=3)
    return st.one_of(
        _objects(children),
        _arrays(children),
        _tables(children),
        choices.map(lambda listed: {"anyOf": listed}),
        st.lists(_loose(children), min_size=1, max_size=3).map(lambda listed: {"allOf": listed}),
        st.tuples(_loose(children), st.lists(_loose(children), min_size=1, max_size=3)).map(
            lambda pair: {**pair[0], "anyOf": pair[1]}
        ),
    )


_LEAVES = st.one_of(
    _strings(),
    _numbers(),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.lists(_SCALARS, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    _SCALARS.map(lambda value: {"const": value}),
    st.just({"$ref": "#/$defs/point"}),
)
_POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "next": {"$ref": "#/$defs/point"}},
    "required": ["x"],
    "additionalProperties": False,
}


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """A schema of an object, as `response_format` wants it."""
    schema = draw(_objects(st.recursive(_LEAVES, _nested, max_leaves=6)))
    return schema | {"$defs": {"point": _POINT}}
