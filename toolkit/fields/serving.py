"""How Triton runs a model: instances, batches, queue, cache, warm-up, limits, versions.

Each class is a part of Triton's model configuration under a shorter name. What the fields mean
together with a kind of model is decided where configs are written.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from toolkit.fields.strict import Many, Strict


class Resource(Strict):
    """A resource that running instances hold, for Triton's rate limiter."""

    name: str = Field(
        min_length=1, description="Any name; instances with the same resource share it."
    )
    count: int = Field(ge=1, description="Units that one running instance holds.")
    shared: bool = Field(
        default=False,
        description="One pool for the whole server instead of one per device.",
    )


class RateLimit(Strict):
    """Triton's rate limiter: an instance runs only while its resources are free."""

    resources: Many[Resource] = Field(min_length=1, description="Resources that an instance holds.")
    priority: int = Field(
        default=1,
        ge=1,
        description="Priority: 1 is the highest; 2 gets half as many turns as 1, and so on.",
    )


class Instances(Strict):
    """A group of instances of one model, and where they run."""

    count: int = Field(default=1, ge=1, le=1024, description="Number of instances (on each GPU).")
    device: Literal["auto", "cpu", "gpu"] = Field(
        default="auto",
        description="`auto` is `cpu`, except for encoders and engines on a target with GPUs.",
    )
    gpus: Many[int] = Field(
        default=(), description="GPUs by number. Default: all GPUs that the server can use."
    )
    rate_limit: RateLimit | None = Field(
        default=None, description="Resources that an instance holds while it runs."
    )


class Batching(Strict):
    """Triton's dynamic batcher."""

    max_batch_size: int | None = Field(
        default=None, ge=1, le=65536, description="Maximum number of rows of one execution."
    )
    preferred: Many[int] = Field(default=(), description="Batch sizes to wait for.")
    max_delay_us: int = Field(
        default=0, ge=0, description="Maximum time in microseconds that a request waits for others."
    )
    preserve_order: bool = Field(default=False, description="Answer in the order of arrival.")
    max_queue: int = Field(
        default=0,
        ge=0,
        description="Maximum number of waiting requests; further ones are refused. 0: no limit.",
    )
    timeout_us: int = Field(
        default=0,
        ge=0,
        description="Microseconds in the queue after which a request is refused; 0: never.",
    )


class Priority(Strict):
    """Priority levels of a model's queue; a request sets its level in Triton's `priority`."""

    levels: int = Field(ge=2, le=64, description="Number of levels; 1 has the highest priority.")
    default: int | None = Field(
        default=None,
        ge=1,
        description="Level of requests that do not set one. Default: the middle level.",
    )


class WarmUpInput(Strict):
    """One tensor of a warm-up request."""

    dims: Many[int] | None = Field(
        default=None,
        description="Shape without the batch; required if the model's shape contains -1.",
    )
    data: Literal["zero", "random"] | None = Field(
        default=None, description="Value of all elements."
    )
    text: str | None = Field(default=None, description="Value of a STRING tensor.")


class WarmUp(Strict):
    """A request that each instance answers before the model is ready."""

    inputs: dict[str, WarmUpInput] = Field(
        default={}, description="By tensor name; tensors that are left out are zeros."
    )
    batch: int = Field(default=1, ge=1, description="Number of rows of the request.")
    count: int = Field(
        default=1, ge=1, le=1000, description="Number of times that the request is sent."
    )


class VersionPolicy(Strict):
    """Which versions of a model are served; set exactly one field."""

    latest: int | None = Field(default=None, ge=1, description="The newest N versions.")
    all: Literal[True] | None = Field(default=None, description="`true`: all versions.")
    specific: Many[int] | None = Field(default=None, description="These versions.")


def _groups(value: object) -> object:
    """`2` and one group alone are short for a list of one group."""
    # `instances: true` would count as 1
    if isinstance(value, int) and not isinstance(value, bool):
        return [{"count": value}]
    return [value] if isinstance(value, Mapping) else value


def _requests(value: object) -> object:
    if isinstance(value, bool):
        return [{}] if value else []
    return [value] if isinstance(value, Mapping) else value


Groups = Annotated[
    Many[Instances],
    BeforeValidator(_groups, json_schema_input_type=int | Instances | list[Instances]),
]
"""Instance groups: a number, one group or a list of them."""
WarmUps = Annotated[
    Many[WarmUp],
    BeforeValidator(_requests, json_schema_input_type=bool | WarmUp | list[WarmUp]),
]
"""Warm-up requests: true (one, of zeros), one request or a list of them."""


class Part(Strict):
    """How a step other than the main one runs."""

    instances: Groups | None = Field(default=None, description="Instance groups of the step.")
    batching: Batching | None = Field(default=None, description="Dynamic batching of the step.")
    warmup: bool | None = Field(
        default=None, description="Whether a warm-up request is sent before the step is ready."
    )


class GrammarBounds(Strict):
    """Limits of the schema, pattern or grammar that a request sets for its answer."""

    bytes: int = Field(default=131_072, ge=1, description="Maximum size in bytes.")
    compile_s: float = Field(
        default=10.0, gt=0, description="Maximum CPU time of a compilation in seconds."
    )
    memory_mb: int = Field(
        default=1024, ge=1, description="Maximum memory of a compilation in MiB."
    )
    mask_ms: int = Field(
        default=100,
        ge=1,
        description="Maximum CPU time in milliseconds to compute the next allowed tokens; a "
        "request that needs more is ended.",
    )
    share_ms: int = Field(
        default=5,
        ge=1,
        description="Maximum average of that time, applied after one second in total.",
    )
    compiles: int = Field(
        default=4,
        ge=1,
        description="Maximum number of grammars compiled at the same time; one caller may use"
        " half of it.",
    )
    processes: int = Field(
        default=64,
        ge=1,
        description="Maximum number of grammars in use at the same time; one caller may use half "
        "of it. Each is a process of about 12 MiB.",
    )
    whitespace: int = Field(
        default=16, ge=1, description="Maximum number of consecutive blanks in JSON answers."
    )
