"""The limits of connections, requests and callers."""

from pydantic import Field, field_validator

from frontend.settings.group import Group, parts

CONSTRAINTS = frozenset({"choice", "grammar", "regex", "structural_tag"})


class LimitSettings(Group):
    """Limits of connections and requests."""

    max_connections: int = Field(
        default=4096,
        ge=1,
        description="Maximum number of open connections; idle ones are closed for new ones.",
    )
    max_connections_per_address: int = Field(
        default=2048,
        ge=1,
        description="Maximum number of open connections from one address. Behind a proxy, all"
        " clients share one address.",
    )
    # above the 60 s of common load balancers, which then close idle connections themselves
    idle_timeout_s: float = Field(
        default=75, gt=0, description="Seconds after which an idle connection is closed."
    )
    max_head_bytes: int = Field(
        default=64 * 1024,
        ge=1024,
        description="Maximum size in bytes of a request's URL and headers, and of the framing of"
        " a chunked body.",
    )
    max_headers: int = Field(
        default=100, ge=1, description="Maximum number of headers of a request."
    )
    max_pipelined: int = Field(
        default=16, ge=0, description="Maximum number of pipelined requests on one connection."
    )
    # openai-python gives up after the same time
    request_timeout_s: float = Field(
        default=600,
        gt=0,
        description="Maximum duration of a request in seconds, including waiting.",
    )
    client_timeout_s: float = Field(
        default=30,
        gt=0,
        description="Timeout in seconds for a client to send the head of a request, to send its"
        " body, and to continue reading the answer.",
    )
    max_running: int = Field(
        default=256,
        ge=1,
        description="Maximum number of concurrent requests to Triton; further requests wait.",
    )
    max_waiting: int = Field(
        default=4096,
        ge=0,
        description="Maximum number of waiting requests; further requests get status 503.",
    )
    max_waiting_per_user: int = Field(
        default=64,
        ge=0,
        description="Maximum number of waiting requests of one user; further ones get status"
        " 429. Callers without a key are not limited.",
    )
    max_waiting_bytes: int = Field(
        default=256 * 2**20,
        ge=1024,
        description="Maximum size in bytes of the prompts of all waiting requests; further"
        " requests get status 503.",
    )
    max_body_bytes: int = Field(
        default=4 * 2**20,
        ge=1024,
        description="Maximum size of a request body in bytes, for routes without images.",
    )
    max_image_body_bytes: int = Field(
        default=20 * 2**20,
        ge=1024,
        description="Maximum size of a request body in bytes, for routes that accept images.",
    )
    max_bodies_bytes: int = Field(
        default=64 * 2**20,
        ge=1024,
        description="Maximum size in bytes of all running requests with bodies larger"
        " than 64 KiB. One caller may use half of it; further requests wait.",
    )
    # parsing holds the interpreter's lock for up to half a microsecond per value
    max_json_values: int = Field(
        default=300_000,
        ge=1000,
        description="Maximum number of JSON values in a request body, including keys.",
    )
    max_json_containers: int = Field(
        default=20_000,
        ge=100,
        description="Maximum number of JSON objects and lists in a request body.",
    )
    max_text_bytes: int = Field(
        default=4 * 2**20,
        ge=1024,
        description="Maximum size in bytes of all prompts or inputs of a request. The model's"
        " context length applies as well.",
    )
    max_messages: int = Field(
        default=2048, ge=1, description="Maximum number of messages in a chat."
    )
    max_inputs: int = Field(
        default=8192,
        ge=1,
        description="Maximum number of texts to embed, or of prompts of a completion.",
    )
    default_tokens_per_month: int = Field(
        default=100_000,
        ge=0,
        description="Token budget per calendar month of each user in the database without a budget"
        " or a plan; 0: unlimited.",
    )
    max_refused_per_minute: int = Field(
        default=600,
        ge=1,
        description="Maximum number of requests of one key that are refused within a minute because"
        " of its limits; further ones are refused without reading the database.",
    )
    constraints: str = Field(
        default="choice,regex",
        description="Structures that callers may require besides JSON schemas, separated by "
        "commas: `choice`, `regex`, `grammar` and `structural_tag`. The last two are programs"
        " that callers write, so they are off by default.",
    )

    @field_validator("constraints")
    @classmethod
    def _are_constraints(cls, value: str) -> str:
        if unknown := set(parts(value)) - CONSTRAINTS:
            known = ", ".join(sorted(CONSTRAINTS))
            raise ValueError(f"{min(unknown)!r} is not one of {known}")
        return value

    @property
    def allowed_constraints(self) -> frozenset[str]:
        """`constraints`, one by one."""
        return frozenset(parts(self.constraints))
