"""The OpenAPI document has the gateway's routes and the declared bodies: no more, no fewer."""

import asyncio
import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from frontend.app import create_gateway
from frontend.dialects.read import known_names
from frontend.openapi.build import build_document
from frontend.openapi.operations import OPERATIONS, Operation
from frontend.settings import Settings
from tests.support.events import MODEL
from tests.support.upstream import ScriptedUpstream

DOCUMENT = build_document([MODEL])
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
WITH_BODY = [one for one in OPERATIONS if one.body is not None]


def test_it_has_every_route_and_no_other() -> None:
    async def routes() -> set[tuple[str, str]]:
        gateway = create_gateway(Settings(), ScriptedUpstream())
        return {
            (route.method, re.sub(r":\w+}", "}", route.path))
            for route in gateway.routes.all
            if route.method != "HEAD"
        }

    assert {(one.method, one.path) for one in OPERATIONS} == asyncio.run(routes())


def test_it_is_valid() -> None:
    validate(DOCUMENT)
    example = DOCUMENT["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]
    assert example["application/json"]["example"]["model"] == "m"


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda one: one.path)
def test_it_has_the_fields_that_are_parsed(operation: Operation) -> None:
    body = DOCUMENT["paths"][operation.path][operation.method.lower()]["requestBody"]
    reference = body["content"]["application/json"]["schema"]["$ref"]
    shown = SCHEMAS[reference.rpartition("/")[2]]["properties"]
    assert operation.body is not None
    missing = known_names(operation.body) - shown.keys()
    assert shown.keys() <= known_names(operation.body)
    assert missing <= {
        *("audio", "prediction", "web_search_options", "moderation", "style", "max_tool_calls"),
        *("conversation", "prompt", "context_management", "container"),
        *("chat_template", "mm_processor_kwargs", "media_io_kwargs"),
    }, "only what is refused has no place in it"


def test_every_field_of_every_object_has_a_description() -> None:
    undescribed = [
        f"{name}.{field}"
        for name, schema in SCHEMAS.items()
        if not name.endswith("Error")
        for field, one in schema["properties"].items()
        if not one.get("description")
    ]
    assert undescribed == []
    assert all(schema.get("description") for name, schema in SCHEMAS.items() if "Error" not in name)


def test_bounds_and_nested_objects_are_those_of_the_parsers() -> None:
    chat = SCHEMAS["OpenAIChatBody"]
    assert chat["required"] == ["model", "messages"]
    assert chat["additionalProperties"] is False
    temperature = chat["properties"]["temperature"]
    assert (temperature["minimum"], temperature["maximum"]) == (0, 2)
    roles = chat["properties"]["messages"]["items"]["discriminator"]["mapping"]
    assert set(roles) == {"system", "developer", "user", "assistant", "tool", "function"}
    assert SCHEMAS["OpenAIUser"]["properties"]["content"]["anyOf"][0] == {"type": "string"}
    assert "null" not in str(chat)
