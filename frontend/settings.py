"""The gateway's settings: environment variables, overridden by flags."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

CONSTRAINTS = frozenset({"choice", "grammar", "regex", "structural_tag"})


class Settings(BaseSettings):
    """Read once at start, by `app` and `__main__` alone."""

    model_config = SettingsConfigDict(
        env_prefix="TRITON_FRONTEND_",
        cli_prog_name="python -m frontend",
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_implicit_flags=True,
        extra="forbid",
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=9000, ge=0, le=65535, description="Port to listen on.")
    triton: str = Field(
        default="127.0.0.1:8001",
        description="Triton's gRPC address: `HOST:PORT` or `unix:/path`.",
    )
    triton_key_file: Path | None = Field(
        default=None,
        description="File with `NAME=VALUE`: what opens the control calls that Triton restricts,"
        " for loading and unloading models.",
    )
    ollama_port: int | None = Field(
        default=None, ge=1, le=65535, description="A second port, for tools that know Ollama's."
    )
    health_socket: Path | None = Field(
        default=None,
        description="A unix socket on which GET /healthz is answered too, for whoever supervises"
        " the gateway: no limit on connections applies there.",
    )
    keys_file: Path | None = Field(
        default=None,
        description="File of the callers' keys (`triton-gateway keys`); requests without one are"
        " refused.",
    )
    open: bool = Field(
        default=False,
        description="Answer requests without a key too. Without a file of keys the gateway serves"
        " its own machine alone, unless this is set.",
    )
    models: dict[str, str] = Field(
        default_factory=dict,
        description='More names for served models, as JSON: `{"mistral:latest": "my-chat"}`.',
    )
    allowed_hosts: str = Field(
        default="host.docker.internal,host.containers.internal",
        description="Names in `Host` that a gateway without keys answers to, besides loopback's:"
        " `llm.example.com,*.example.com`; `*` for any.",
    )
    allowed_origins: str = Field(
        default="",
        description="Origins of web pages that may use the gateway from a browser (CORS):"
        " `https://chat.example.com,app://*`; `*` for any. Default: none but its own pages.",
    )
    max_connections: int = Field(
        default=4096, ge=1, description="Open connections in all; idle ones make room for new ones."
    )
    max_connections_per_address: int = Field(
        default=2048,
        ge=1,
        description="Open connections from one address at most; all, if it is a proxy's.",
    )
    idle_timeout_s: float = Field(
        default=75, gt=0, description="Seconds that a connection may be open between two requests."
    )
    max_head_bytes: int = Field(
        default=64 * 1024,
        ge=1024,
        description="Bytes of a request's URL and headers, and of a chunked body's framing.",
    )
    max_headers: int = Field(default=100, ge=1, description="Headers of one request at most.")
    max_pipelined: int = Field(
        default=16, ge=0, description="Requests on one connection that may wait for its answers."
    )
    block_warning_ms: int = Field(
        default=100,
        ge=1,
        description="Milliseconds that the event loop may be blocked before the log says by what.",
    )
    request_timeout_s: float = Field(
        default=600, gt=0, description="Seconds a request may take in all, waiting included."
    )
    client_timeout_s: float = Field(
        default=30,
        gt=0,
        description="Seconds that a client may take to send a request's head, and its body, and"
        " that it may stop reading its answer.",
    )
    heartbeat_s: float = Field(
        default=10, gt=0, description="Seconds of silence after which a stream sends a comment."
    )
    drain_s: float = Field(
        default=20, ge=0, description="Seconds that running requests may take after SIGTERM."
    )
    poll_interval_s: float = Field(
        default=2, gt=0, description="Seconds between looks at which models Triton serves."
    )
    max_running: int = Field(
        default=256, ge=1, description="Requests in Triton at once; further ones wait."
    )
    max_waiting: int = Field(
        default=1024, ge=0, description="Requests that wait at most; further ones get a 503."
    )
    max_body_bytes: int = Field(
        default=4 * 2**20,
        ge=1024,
        description="The largest request body in bytes, for routes that take no images.",
    )
    max_image_body_bytes: int = Field(
        default=20 * 2**20,
        ge=1024,
        description="The largest request body in bytes, for routes that take images.",
    )
    max_bodies_bytes: int = Field(
        default=64 * 2**20,
        ge=1024,
        description="Bytes of all requests under way whose bodies are larger than 64 KiB; one"
        " caller has half of them, further requests wait.",
    )
    max_json_values: int = Field(
        default=300_000,
        ge=1000,
        description="Values of one request body at most; an object's keys count as values.",
    )
    max_json_containers: int = Field(
        default=20_000, ge=100, description="Objects and lists of one request body at most."
    )
    max_text_bytes: int = Field(
        default=4 * 2**20,
        ge=1024,
        description="Bytes of text in all prompts or inputs of one request. What fits a model's"
        " context is bounded besides, by the model.",
    )
    max_messages: int = Field(default=2048, ge=1, description="Messages of one chat at most.")
    max_inputs: int = Field(
        default=8192, ge=1, description="Texts of one embeddings call, prompts of one completion."
    )
    constraints: str = Field(
        default="choice,regex",
        description="What callers may bind answers to besides JSON schemas, comma-separated: "
        "`choice`, `regex`, and, as these are programs that callers write, where the operator "
        "wants them: `grammar` and `structural_tag`.",
    )
    max_images: int = Field(default=16, ge=0, description="Images of one chat at most.")
    max_image_bytes: int = Field(
        default=10 * 2**20, ge=1024, description="The largest image file in bytes."
    )
    max_image_pixels: int = Field(
        default=25_000_000, ge=1, description="Pixels of one image at most, width times height."
    )
    max_image_scans: int = Field(
        default=50, ge=1, description="Scans of one progressive JPEG at most."
    )
    max_encoded_image_bytes: int = Field(
        default=8 * 2**20,
        ge=1024,
        description="Bytes of one image as it goes to the model: as PNG, else as JPEG of quality"
        " 95 or 85, else it is refused.",
    )
    max_encoded_images_bytes: int = Field(
        default=32 * 2**20,
        ge=1024,
        description="The same for all images of one request. Four times as much is held for all"
        " requests under way, half of that for one caller; further requests wait.",
    )
    image_processes: int = Field(
        default=2,
        ge=2,
        description="Processes that decode images; one caller has half of them.",
    )
    image_decode_s: float = Field(
        default=10, gt=0, description="Seconds after which decoding one image is ended."
    )
    image_timeout_s: float = Field(
        default=10,
        gt=0,
        description="Seconds that fetching one image may take, redirects included.",
    )
    image_networks: str = Field(
        default="",
        description="Networks that image URLs may point into besides public addresses: "
        "`10.1.0.0/16,fd00::/8`.",
    )
    schema_workers: int = Field(
        default=2,
        ge=1,
        description="Processes that check JSON schemas of requests, and answers against them.",
    )
    schema_timeout_s: float = Field(
        default=5,
        gt=0,
        description="Seconds that checking a schema or an answer may take; then it is ended.",
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
        description="Evaluations of one value that a schema may take, references followed.",
    )
    max_schema_patterns: int = Field(
        default=200, ge=0, description="Regular expressions in one schema."
    )
    max_schema_pattern_size: int = Field(
        default=20_000,
        ge=0,
        description="Characters of a schema's regular expressions, repetitions written out.",
    )
    responses_database: str = Field(
        default=":memory:",
        min_length=1,
        description="SQLite file that keeps responses for `previous_response_id`.",
    )
    responses_ttl_s: int = Field(
        default=30 * 86400, ge=1, description="Seconds that a stored response lives."
    )
    max_responses_bytes: int = Field(
        default=256 * 2**20,
        ge=0,
        description="Bytes of stored responses in all; the oldest go when there is no room.",
    )
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^/?#\s]+(/[^?#\s]*)?)?$",
        description="Where clients reach the gateway, for links in answers; default: as they did.",
    )
    link_ttl_s: int = Field(
        default=3600, ge=1, description="Seconds that a link to a generated image lives."
    )
    max_stored_bytes: int = Field(
        default=256 * 2**20,
        ge=0,
        description="Bytes of linked images in memory; the oldest go when there is no room.",
    )
    unknown_fields: str = Field(
        default="refuse",
        pattern="^(refuse|warn)$",
        description="What becomes of fields of a request's body that nobody knows: `refuse`, or"
        " `warn` in a header and leave them aside.",
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level logged."
    )

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if self.keys_file is None and not self.open and not _is_loopback(self.host):
            raise ValueError(
                f"a gateway on '{self.host}' answers whoever reaches it: name a file of keys"
                " (--keys-file), or say --open"
            )
        return self

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        _ = self.triton_key  # its ValueError is what pydantic wants
        return self

    @property
    def triton_key(self) -> tuple[str, str] | None:
        """Name and value of the key for Triton's control calls. Raises ValueError."""
        if self.triton_key_file is None:
            return None
        try:
            name, _, value = self.triton_key_file.read_text().strip().partition("=")
        except OSError as error:
            raise ValueError(f"triton_key_file: {error}") from error
        if not name or not value:
            raise ValueError(f"triton_key_file: {self.triton_key_file} does not hold NAME=VALUE")
        return name.lower(), value

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for part in _parts(value):
            if part != "*" and not re.fullmatch(r"[a-zA-Z][\w+.-]*://[^/\s]+", part):
                raise ValueError(f"'{part}' is not an origin such as 'https://chat.example.com'")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: str) -> str:
        for part in _parts(value):
            if "/" in part or (":" in part.rpartition("]")[2] and part.count(":") == 1):
                raise ValueError(f"'{part}' is not a name or an address without a port")
        return value

    @field_validator("image_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for part in _parts(value):
            ip_network(part)  # a ValueError is what pydantic wants
        return value

    @field_validator("constraints")
    @classmethod
    def _are_constraints(cls, value: str) -> str:
        if unknown := set(_parts(value)) - CONSTRAINTS:
            known = ", ".join(sorted(CONSTRAINTS))
            raise ValueError(f"{min(unknown)!r} is not one of {known}")
        return value

    @property
    def allowed_constraints(self) -> frozenset[str]:
        """`constraints`, one by one."""
        return frozenset(_parts(self.constraints))

    @property
    def networks(self) -> list[str]:
        """`image_networks`, one by one."""
        return _parts(self.image_networks)

    @property
    def hosts(self) -> list[str]:
        """`allowed_hosts`, one by one."""
        return _parts(self.allowed_hosts)

    @property
    def origins(self) -> list[str]:
        """`allowed_origins`, one by one."""
        return _parts(self.allowed_origins)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]
