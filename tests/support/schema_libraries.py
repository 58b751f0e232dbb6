"""Schemas as real libraries write them: every type of pydantic, and the tools of five agents."""

import datetime
import decimal
import enum
import ipaddress
import pathlib
import re
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple, Union

import pydantic
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, conlist, constr
from typing_extensions import TypedDict

Schema = dict[str, Any]


class Colour(enum.Enum):
    RED, GREEN = "red", "green"


class Level(enum.IntEnum):
    LOW, HIGH = 1, 2


class Place(NamedTuple):
    x: int
    y: float = 0.5


class Options(TypedDict, total=False):
    verbose: bool
    depth: int


@dataclass
class Window:
    title: str
    size: tuple[int, int] = (1, 1)


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(9, ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = []


class Node(BaseModel):
    """A tree."""

    model_config = ConfigDict(extra="forbid")
    value: int | str
    children: list["Node"] = []
    parent: "Node | None" = None


class Account(BaseModel):
    """What a registration form asks for."""

    model_config = ConfigDict(title="Account", json_schema_extra={"examples": [{"name": "a"}]})
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]+$", min_length=3, max_length=20)]
    tags: Annotated[set[str], Field(max_length=5)] = set()
    limits: dict[constr(pattern=r"^\w+$"), Annotated[float, Field(multiple_of=0.5)]] = {}  # type: ignore[valid-type]
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []
    home: pathlib.Path | None = Field(None, deprecated=True)
    site: pydantic.HttpUrl = Field(alias="web-site", description='Says "hello".')
    born: datetime.date
    colour: Colour = Colour.RED
    window: Window | None = None


STANDARD: list[Any] = [
    *(bool, int, float, str, bytes, bytearray, complex, decimal.Decimal, Fraction, type(None)),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, uuid.UUID),
    *(pathlib.Path, ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network),
    *(ipaddress.IPv6Network, ipaddress.IPv4Interface, ipaddress.IPv6Interface, re.Pattern[str]),
    *(Colour, Level, Literal["a", 1, None], Literal[True], Place, Options, Window, Any, object),
    *(list[int], set[str], frozenset[int], deque[int], tuple[int, str], tuple[int, ...], tuple[()]),
    *(dict[str, int], dict[int, str], Mapping[str, Any], OrderedDict[str, int], Counter[str]),
    *(defaultdict[str, list[int]], Sequence[int], Iterable[str], int | None, int | str | None),
    *(dict[Literal["a", "b"], int], dict[uuid.UUID, bytes], list[tuple[int, Place]]),
    *(Cat, Node, Account, list[Node], Cat | Dog, Union[Cat, list[Dog], None]),  # noqa: UP007
    *(Annotated[Cat | Dog, Field(discriminator="kind")], conlist(int, min_length=1, max_length=3)),
    Annotated[int, Field(gt=1, lt=9, multiple_of=3)],
    Annotated[float, Field(ge=-1.5, le=1e9)],
    Annotated[decimal.Decimal, Field(max_digits=5, decimal_places=2)],
    Annotated[str, Field(pattern=r"(?i)^abc$")],
    Annotated[list[Annotated[str, Field(min_length=2)]], Field(min_length=1)],
    Annotated[datetime.datetime, Field(json_schema_extra={"x-zone": "UTC"})],
]


def pydantic_schemas() -> dict[str, Schema]:
    """One for each type that has one, as input and as output."""
    named = {str(one): one for one in STANDARD}
    for name in pydantic.__all__:
        if name[0].isupper() or name.startswith("con"):
            named[name] = getattr(pydantic, name)
    found: dict[str, Schema] = {}
    for name, one in named.items():
        for mode in ("validation", "serialization"):
            try:
                schema = TypeAdapter(one).json_schema(mode=mode)  # type: ignore[arg-type]
            except Exception:  # noqa: S112
                continue  # no type of a value, or one without a schema
            found[f"{name} ({mode})"] = schema
    return found


def as_object(schema: Schema) -> Schema:
    """As the arguments of a tool, with the definitions at the top, as the SDKs write them."""
    inner = dict(schema)
    definitions = inner.pop("$defs", None)
    wrapped = {"type": "object", "properties": {"value": inner}, "required": ["value"]}
    return wrapped | ({"$defs": definitions} if definitions else {})


_PATH = {"type": "string", "format": "path", "description": "An absolute path."}
_DRAFT7 = "http://json-schema.org/draft-07/schema#"
_DRAFT2020 = "https://json-schema.org/draft/2020-12/schema"

CODING_AGENT: dict[str, Schema] = {
    "Read": {
        "$schema": _DRAFT7, "type": "object", "additionalProperties": False,
        "properties": {
            "file_path": _PATH,
            "offset": {"type": "integer", "minimum": 0, "maximum": 9007199254740991},
            "limit": {"type": "integer", "exclusiveMinimum": 0, "maximum": 9007199254740991},
        },
        "required": ["file_path"],
    },
    "MultiEdit": {
        "$schema": _DRAFT2020, "type": "object", "additionalProperties": False,
        "properties": {
            "file_path": _PATH,
            "edits": {
                "type": "array", "minItems": 1, "description": "In order.",
                "items": {
                    "type": "object", "additionalProperties": False,
                    "properties": {"old": {"type": "string"}, "new": {"type": "string"},
                                   "all": {"type": "boolean", "default": False}},
                    "required": ["old", "new"],
                },
            },
        },
        "required": ["file_path", "edits"],
    },
    "Grep": {
        "$schema": _DRAFT7, "type": "object",
        "properties": {
            "pattern": {"type": "string", "format": "regex"},
            "output_mode": {"type": "string", "enum": ["content", "files_with_matches", "count"]},
            "-A": {"type": "number"}, "-i": {"type": "boolean"},
        },
        "required": ["pattern"],
    },
    "TodoWrite": {
        "type": "object",
        "properties": {"todos": {"type": "array", "uniqueItems": True, "items": {
            "type": "object",
            "properties": {"content": {"type": "string", "minLength": 1},
                           "status": {"enum": ["pending", "in_progress", "completed"]},
                           "id": {"type": "string"}},
            "required": ["content", "status", "id"]}}},
        "required": ["todos"],
    },
    "WebFetch": {
        "type": "object",
        "properties": {"url": {"type": "string", "format": "uri"}, "prompt": {"type": "string"}},
        "required": ["url", "prompt"], "additionalProperties": False,
    },
    "ExitPlanMode": {"type": "object", "properties": {}, "additionalProperties": True},
}  # fmt: skip
STRICT_AGENT: dict[str, Schema] = {
    "get_weather": {
        "type": "object", "additionalProperties": False,
        "properties": {"city": {"type": "string", "title": "City"},
                       "unit": {"anyOf": [{"enum": ["c", "f"], "type": "string"},
                                          {"type": "null"}]}},
        "required": ["city", "unit"], "title": "get_weather_args",
    },
    "transfer_to_billing": {"type": "object", "additionalProperties": False, "properties": {},
                            "required": []},
    "book": {
        "$defs": {"Leg": {"type": "object", "additionalProperties": False, "required": ["on", "to"],
                          "properties": {"on": {"type": "string", "format": "date"},
                                         "to": {"type": "string", "pattern": "^[A-Z]{3}$"}}}},
        "type": "object", "additionalProperties": False, "required": ["legs"],
        "properties": {"legs": {"type": "array", "items": {"$ref": "#/$defs/Leg"}, "maxItems": 6}},
    },
}  # fmt: skip
BROWSER_AGENT: dict[str, Schema] = {
    "act": {
        "$defs": {
            "Click": {"type": "object", "title": "Click", "required": ["action", "index"],
                      "properties": {"action": {"const": "click", "type": "string"},
                                     "index": {"type": "integer", "minimum": 1}}},
            "Type": {"type": "object", "title": "Type", "required": ["action", "text"],
                     "properties": {"action": {"const": "type", "type": "string"},
                                    "text": {"type": "string"}}},
            "Scroll": {"type": "object", "required": ["action"],
                       "properties": {"action": {"const": "scroll"},
                                      "pages": {"type": "number", "default": 1.0}}},
        },
        "type": "object", "required": ["actions"],
        "properties": {
            "thinking": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "actions": {"type": "array", "minItems": 1, "items": {
                "discriminator": {"propertyName": "action", "mapping": {"click": "#/$defs/Click"}},
                "oneOf": [{"$ref": "#/$defs/Click"}, {"$ref": "#/$defs/Type"},
                          {"$ref": "#/$defs/Scroll"}]}},
        },
    },
    "done": {"type": "object", "properties": {
        "success": {"type": "boolean"}, "files": {"anyOf": [
            {"type": "array", "items": {"type": "string"}}, {"type": "null"}], "default": []}},
        "required": ["success"]},
}  # fmt: skip
SERVER_AGENT: dict[str, Schema] = {  # as servers of the Model Context Protocol list them
    "create_issue": {
        "$schema": _DRAFT7, "type": "object", "required": ["owner", "repo", "title"],
        "properties": {
            "owner": {"type": "string", "pattern": "^(?!-)[A-Za-z0-9-]{1,39}$"},
            "repo": {"type": "string"}, "title": {"type": "string", "maxLength": 256},
            "labels": {"type": "array", "items": {"type": "string"}},
            "milestone": {"type": ["integer", "null"]},
        },
    },
    "query": {
        "type": "object",
        "properties": {
            "sql": {"type": "string"},
            "params": {"type": "array", "items": {"type": ["string", "number", "boolean", "null"]}},
            "filter": {"type": "object", "patternProperties": {"^[a-z_]+$": {"$ref": "#/$defs/op"}},
                       "additionalProperties": False},
        },
        "if": {"required": ["params"]}, "then": {"required": ["sql"]},
        "dependentRequired": {"filter": ["sql"]},
        "$defs": {"op": {"oneOf": [{"type": "string"}, {"type": "object", "properties": {
            "and": {"type": "array", "items": {"$ref": "#/$defs/op"}}}, "required": ["and"]}]}},
    },
    "list": {},
    "upload": {"type": "object", "properties": {
        "data": {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"},
        "meta": {"type": "object", "additionalProperties": {"type": "string"}, "propertyNames": {
            "pattern": "^[a-z]+$"}, "maxProperties": 10}}},
}  # fmt: skip
DATA_AGENT: dict[str, Schema] = {
    "run_python": {"type": "object", "properties": {
        "code": {"type": "string", "x-language": "python"},
        "timeout": {"type": "number", "minimum": 0, "exclusiveMaximum": 600, "default": 30}},
        "required": ["code"]},
    "plot": {"type": "object", "required": ["series"], "properties": {
        "series": {"type": "array", "minItems": 1, "items": {"type": "array", "prefixItems": [
            {"type": "number"}, {"type": "number"}], "minItems": 2, "maxItems": 2}},
        "range": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        "style": {"allOf": [{"$ref": "#/definitions/Style"}], "default": "line"}},
        "definitions": {"Style": {"title": "Style", "enum": ["line", "bar"], "type": "string"}}},
    "search": {"type": "object", "properties": {
        "query": {"type": "string"}, "top_k": {"type": "integer", "minimum": 1, "maximum": 50},
        "when": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}},
        "anyOf": [{"required": ["query"]}, {"required": ["when"]}], "nullable": False},
    "nested": {"type": "object", "properties": {"a": {"$ref": "/$defs/A"}},
               "$defs": {"A": {"type": "object", "properties": {"b": {"type": "integer"}}}}},
}  # fmt: skip
AGENTS = {
    "coding": CODING_AGENT,
    "strict": STRICT_AGENT,
    "browser": BROWSER_AGENT,
    "servers": SERVER_AGENT,
    "data": DATA_AGENT,
}
