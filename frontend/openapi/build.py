"""Operations → an OpenAPI 3.0 document, its examples filled in with served models. Pure."""

import re
from typing import Any

from msgspec import Struct

from frontend.domain.models import Model
from frontend.openapi.operations import OPERATIONS, Operation
from frontend.openapi.schemas import Schema, describe

_PARAMETER = re.compile(r"\{(\w+)\}")
_TEXT = {"type": "string"}
_ERRORS: dict[str, dict[str, Any]] = {
    "OpenAI": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": _TEXT,
                    "type": _TEXT,
                    "param": {"type": "string", "nullable": True},
                    "code": {"type": "string", "nullable": True},
                },
            }
        },
    },
    "Anthropic": {
        "type": "object",
        "required": ["type", "error", "request_id"],
        "properties": {
            "type": {"type": "string", "enum": ["error"]},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": _TEXT, "message": _TEXT},
            },
            "request_id": _TEXT,
        },
    },
    "Ollama": {"type": "object", "required": ["error"], "properties": {"error": _TEXT}},
}


def build_document(models: list[Model]) -> dict[str, Any]:
    """The document of a gateway that serves these models."""
    paths: dict[str, dict[str, Any]] = {}
    bodies, components = _bodies()
    for operation in OPERATIONS:
        rendered = _operation(operation, models, bodies)
        paths.setdefault(operation.path, {})[operation.method.lower()] = rendered
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Triton Toolkit gateway",
            "version": "1",
            "description": "The APIs of OpenAI, Anthropic and Ollama for models on NVIDIA Triton.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                **components,
                **{f"{tag}Error": schema for tag, schema in _ERRORS.items()},
            }
        },
    }


def _bodies() -> tuple[dict[type[Struct], Schema], dict[str, Schema]]:
    """Where each request's schema is, and all schemas by name."""
    references: dict[type[Struct], Schema] = {}
    components: dict[str, Schema] = {}
    for tag in _ERRORS:
        kinds = [one.body for one in OPERATIONS if _protocol(one) == tag and one.body is not None]
        referenced, named = describe(kinds, tag)
        references |= referenced
        components |= named
    return references, components


def _protocol(operation: Operation) -> str:
    """The protocol in whose shape an operation answers errors."""
    return operation.tag if operation.tag in _ERRORS else "OpenAI"


def _operation(
    operation: Operation, models: list[Model], bodies: dict[type[Struct], Schema]
) -> dict[str, Any]:
    name = f"{operation.method} {operation.path}"
    rendered: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", name.lower()).strip("_"),
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": _responses(operation),
    }
    if names := _PARAMETER.findall(operation.path):
        rendered["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    if operation.query:
        rendered.setdefault("parameters", []).extend(map(_query_parameter, operation.query))
    if operation.body is not None:
        content: dict[str, Any] = {"schema": bodies[operation.body]}
        if (example := example_of(operation, models)) is not None:
            content["example"] = example
        rendered["requestBody"] = {"required": True, "content": {"application/json": content}}
    return rendered


def _query_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": 200} if name == "limit" else _TEXT
    return {"name": name, "in": "query", "required": False, "schema": schema}


def example_of(operation: Operation, models: list[Model]) -> dict[str, Any] | None:
    """A request that runs here; None where no model can do it."""
    if operation.example is None:
        return None
    able = [model.name for model in models if operation.kind in model.capabilities]
    return {"model": able[0], **operation.example} if able else None


def _responses(operation: Operation) -> dict[str, Any]:
    error = {"schema": {"$ref": f"#/components/schemas/{_protocol(operation)}Error"}}
    content = {"application/json": error}
    moved: dict[str, Any] = {}
    if operation.media == "text/html":  # browsers get a page, or are sent to the form to sign in
        content["text/html"] = {"schema": {}}
        moved["3XX"] = {"description": "Another page"}
    responses: dict[str, Any] = {
        **moved,
        "4XX": {"description": "The request is not valid", "content": content},
        "5XX": {"description": "The server failed", "content": {"application/json": error}},
    }
    if not operation.refuses:
        answer: dict[str, Any] = {"type": "object", "required": list(operation.answer)}
        done = {operation.media: {"schema": answer if operation.answer else {}}}
        if operation.also:
            done[operation.also] = {"schema": {}}
        responses[operation.status] = {"description": "Done", "content": done}
        if operation.also_status:
            begun = {"description": "The work continues", "content": content}
            responses[operation.also_status] = begun
    # its 503 is an answer and not an error of the API
    if operation.path == "/readyz":
        plain: dict[str, Any] = {"application/json": {"schema": {}}}
        responses["5XX"] = {"description": "Not ready", "content": plain}
    return responses
