"""What JSON schemas of requests may take."""

from pydantic import Field

from frontend.settings.group import Group


class SchemaSettings(Group):
    """JSON schemas that requests bring."""

    schema_workers: int = Field(
        default=2,
        ge=1,
        description="Processes that check JSON schemas and validate answers.",
    )
    schema_timeout_s: float = Field(
        default=5,
        gt=0,
        description="Seconds that the check of a schema or an answer may take.",
    )
    schema_retries: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Times that a chat's answer is generated again when it does not match its"
        " schema, before the request fails. Streamed answers are not generated again.",
    )
    max_schema_memory_bytes: int = Field(
        default=1024 * 2**20,
        ge=256 * 2**20,
        description="Address space of one process that checks schemas, in bytes.",
    )
    # this, `max_schema_properties` and `max_schema_enum` are OpenAI's limits of structured outputs
    max_schema_bytes: int = Field(
        default=120_000, ge=100, description="The largest JSON schema in bytes."
    )
    max_schemas_bytes: int = Field(
        default=1_000_000, ge=100, description="All JSON schemas of one request in bytes."
    )
    max_schema_depth: int = Field(
        default=32, ge=1, le=60, description="Levels to which the schemas in a schema may nest."
    )
    max_schema_properties: int = Field(
        default=5000, ge=1, description="Properties that one schema may declare in all."
    )
    max_schema_enum: int = Field(
        default=1000, ge=1, description="Values of one `enum` in a schema."
    )
    max_schema_expansion: int = Field(
        default=100_000,
        ge=1,
        description="Evaluations of one value that a schema may take, including references.",
    )
    max_schema_patterns: int = Field(
        default=200, ge=0, description="Regular expressions in one schema."
    )
    max_schema_pattern_size: int = Field(
        default=20_000,
        ge=0,
        description="Characters of a schema's regular expressions, with repetitions written out.",
    )
