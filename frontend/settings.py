"""The gateway's settings: environment variables, overridden by flags."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


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
    ollama_port: int | None = Field(
        default=None, ge=1, le=65535, description="A second port, for tools that know Ollama's."
    )
    keys_file: Path | None = Field(
        default=None,
        description="File of the callers' keys (`toolkit keys`); requests without one are refused.",
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
    request_timeout_s: float = Field(
        default=600, gt=0, description="Seconds a request may take in all, waiting included."
    )
    client_timeout_s: float = Field(
        default=30,
        gt=0,
        description="Seconds that a client may take to send its body, or stop reading its answer.",
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

    @field_validator("image_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for part in _parts(value):
            ip_network(part)  # a ValueError is what pydantic wants
        return value

    @property
    def networks(self) -> list[str]:
        """`image_networks`, one by one."""
        return _parts(self.image_networks)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]
