"""`response_format`: OpenAI's field for the format that an answer must have. Pure.

A schema is enforced even if it is not strict: callers cannot use an answer that violates it.
"""

from typing import Annotated

from frontend.dialects.declare import Body, Object, about
from frontend.dialects.openai.streaming import Streamed
from frontend.dialects.openai.structure import ANY_OBJECT, make_structure
from frontend.dialects.refusal import refuse
from frontend.domain.structure import Structure


class TextFormat(Body, tag_field="type", tag="text"):
    """Any text."""


class ObjectFormat(Body, tag_field="type", tag="json_object"):
    """Any JSON object."""


class NamedSchema(Body, kw_only=True):
    """A JSON schema with a name."""

    name: Annotated[str | None, about("The schema's name.")] = None
    description: Annotated[str | None, about("The purpose of the answer, for the model.")] = None
    strict: Annotated[bool | None, about("Accepted: the schema is always enforced.")] = None
    schema: Annotated[Object | None, about("The JSON schema.")] = None


class SchemaFormat(Body, tag_field="type", tag="json_schema", kw_only=True):
    """JSON that matches a schema."""

    json_schema: Annotated[
        NamedSchema, about("The schema.", missing="is required with type 'json_schema'")
    ]


class Formatted(Streamed, kw_only=True):
    """The fields for the format of the answer: OpenAI's and vLLM's."""

    response_format: Annotated[
        TextFormat | ObjectFormat | SchemaFormat | None,
        about("The format that the answer must have."),
    ] = None


def make_format(body: Formatted) -> Structure | None:
    """The format of the answer from either field. Raises InvalidRequest if both are set."""
    engine = make_structure(body)
    format_ = body.response_format
    if format_ is None or isinstance(format_, TextFormat):
        return engine
    if engine is not None:
        raise refuse(
            "response_format", "cannot be combined with 'structured_outputs'; send one of them"
        )
    if isinstance(format_, ObjectFormat):
        return Structure("json_object", True, "response_format")
    # the API takes a format without a schema
    schema = format_.json_schema.schema or ANY_OBJECT
    return Structure("json", schema, "response_format.json_schema.schema")
