"""The limits of JSON schemas in requests."""

from pydantic import Field

from frontend.settings.group import Group


class SchemaSettings(Group):
    """JSON schemas that requests bring."""

    schema_workers: int = Field(
        default=2,
        ge=1,
        description="Number of processes that check JSON schemas and validate answers.",
    )
    schema_timeout_s: float = Field(
        default=5,
        gt=0,
        description="Timeout for checking a schema or an answer in seconds.",
    )
    schema_retries: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Number of times that a chat's answer is generated again if it does not"
        " match its schema; then the request fails. Streamed answers are not generated again.",
    )
    max_schema_memory_bytes: int = Field(
        default=1024 * 2**20,
        ge=256 * 2**20,
        description="Maximum address space of a process that checks schemas, in bytes.",
    )
    # this, `max_schema_properties` and `max_schema_enum` are OpenAI's limits of structured outputs
    max_schema_bytes: int = Field(
        default=120_000, ge=100, description="Maximum size of a JSON schema in bytes."
    )
    max_schemas_bytes: int = Field(
        default=1_000_000,
        ge=100,
        description="Maximum size of all JSON schemas of one request in bytes.",
    )
    max_schema_depth: int = Field(
        default=32, ge=1, le=60, description="Maximum nesting depth of a schema."
    )
    max_schema_properties: int = Field(
        default=5000, ge=1, description="Maximum number of properties in one schema."
    )
    max_schema_enum: int = Field(
        default=1000, ge=1, description="Maximum number of values of one `enum`."
    )
    max_schema_expansion: int = Field(
        default=100_000,
        ge=1,
        description="Maximum number of evaluations of one value, including references.",
    )
    max_schema_patterns: int = Field(
        default=200, ge=0, description="Maximum number of regular expressions in one schema."
    )
    max_schema_pattern_size: int = Field(
        default=20_000,
        ge=0,
        description="Maximum number of characters of a schema's regular expressions, with"
        " repetitions expanded.",
    )
