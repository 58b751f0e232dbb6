"""What connections, requests and callers may take."""

from pydantic import Field, field_validator

from frontend.settings.group import Group, parts

CONSTRAINTS = frozenset({"choice", "grammar", "regex", "structural_tag"})


class LimitSettings(Group):
    """Limits of connections and requests."""

    max_connections: int = Field(
        default=4096, ge=1, description="Open connections in all; idle ones make room for new ones."
    )
    max_connections_per_address: int = Field(
        default=2048,
        ge=1,
        description="Maximum of open connections from one address. Behind a proxy all share one.",
    )
    # above the 60 s of common load balancers, which then close idle connections themselves
    idle_timeout_s: float = Field(
        default=75, gt=0, description="Seconds that a connection may be open between two requests."
    )
    max_head_bytes: int = Field(
        default=64 * 1024,
        ge=1024,
        description="Bytes of a request's URL and headers, and of a chunked body's framing.",
    )
    max_headers: int = Field(
        default=100, ge=1, description="Maximum number of headers of a request."
    )
    max_pipelined: int = Field(
        default=16, ge=0, description="Requests on one connection that may wait for its answers."
    )
    # openai-python gives up after the same time
    request_timeout_s: float = Field(
        default=600, gt=0, description="Seconds that a request may take, including waiting."
    )
    client_timeout_s: float = Field(
        default=30,
        gt=0,
        description="Seconds that a client may take to send a request's head, and its body, and"
        " that it may stop reading its answer.",
    )
    max_running: int = Field(
        default=256, ge=1, description="Concurrent requests to Triton; further requests wait."
    )
    max_waiting: int = Field(
        default=4096, ge=0, description="Maximum of waiting requests; further requests get a 503."
    )
    max_waiting_per_user: int = Field(
        default=64,
        ge=0,
        description="Maximum of waiting requests of one user; further ones get a 429. Callers"
        " without a key are not limited by it.",
    )
    max_waiting_bytes: int = Field(
        default=256 * 2**20,
        ge=1024,
        description="Bytes of the prompts of all waiting requests; further requests get a 503.",
    )
    max_body_bytes: int = Field(
        default=4 * 2**20,
        ge=1024,
        description="The largest request body in bytes, for routes without images.",
    )
    max_image_body_bytes: int = Field(
        default=20 * 2**20,
        ge=1024,
        description="The largest request body in bytes, for routes that take images.",
    )
    max_bodies_bytes: int = Field(
        default=64 * 2**20,
        ge=1024,
        description="Bytes of all running requests with bodies larger than 64 KiB. One"
        " caller may use half of them; further requests wait.",
    )
    # parsing holds the interpreter's lock for up to half a microsecond per value
    max_json_values: int = Field(
        default=300_000,
        ge=1000,
        description="Maximum number of JSON values in a request body, including keys.",
    )
    max_json_containers: int = Field(
        default=20_000, ge=100, description="Maximum number of JSON objects and lists in a body."
    )
    max_text_bytes: int = Field(
        default=4 * 2**20,
        ge=1024,
        description="Bytes of text in all prompts or inputs of a request. The model's context"
        " is a second limit.",
    )
    max_messages: int = Field(
        default=2048, ge=1, description="Maximum number of messages in a chat."
    )
    max_inputs: int = Field(
        default=8192, ge=1, description="Maximum of texts to embed, or prompts of a completion."
    )
    default_tokens_per_month: int = Field(
        default=100_000,
        ge=0,
        description="Token budget per calendar month of each user in the database that has neither"
        " a budget nor a plan; 0: none.",
    )
    max_refused_per_minute: int = Field(
        default=600,
        ge=1,
        description="Requests of one key that may be refused within a minute because of its limits;"
        " further ones are refused without a look at the database.",
    )
    constraints: str = Field(
        default="choice,regex",
        description="Structures that callers may require besides JSON schemas, comma-separated: "
        "`choice`, `regex`, `grammar` and `structural_tag`. The last two are programs that "
        "callers write, and are off by default.",
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
