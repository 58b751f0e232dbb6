"""Short ways to plan a schema and to hold a value to it."""

from typing import Any

import orjson
import pytest

from frontend.errors import InvalidRequest
from frontend.schemas.check import find_errors
from frontend.schemas.limits import Limits
from frontend.schemas.plan import Plan, make_plan

Schema = dict[str, Any]


def plan(schema: Schema, *, enforced: bool = True, limits: Limits | None = None) -> Plan:
    """The plan of a schema at `s`."""
    return make_plan(orjson.dumps(schema), "s", limits or Limits(), enforced)


def grammar(schema: Schema, *, enforced: bool = True) -> Any:
    """What the engine gets of a schema."""
    return orjson.loads(plan(schema, enforced=enforced).grammar)


def fits(schema: Schema, value: Any) -> bool:
    """Whether a finished answer passes the check."""
    (fault,) = find_errors([(plan(schema, enforced=False).checker, orjson.dumps(value).decode())])
    return fault is None


def refusal(schema: Schema, *, enforced: bool = True, limits: Limits | None = None) -> Any:
    """The error for a schema that is not taken."""
    with pytest.raises(InvalidRequest) as caught:
        plan(schema, enforced=enforced, limits=limits)
    return caught.value


def of_properties(**properties: Any) -> Schema:
    """A schema of an object."""
    return {"type": "object", "properties": properties}
