"""`/v1/batches`: request → canonical batch, and back. Pure."""

import time
from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson

from frontend.dialects.declare import Body, Object, about
from frontend.dialects.openai.files import check_lifetime, render_page
from frontend.dialects.read import read
from frontend.dialects.refusal import check_count, refuse, shown
from frontend.domain.batches import Batch, new_id

Endpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
WINDOW_S = 24 * 3600
_MAX_METADATA = 16
_MAX_KEY, _MAX_VALUE = 64, 512
_TIMES = (
    "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled",
)  # fmt: skip


class OutputLifetime(Body, kw_only=True):
    """When the files of answers expire."""

    anchor: Annotated[Literal["created_at"], about("The event from which the time is counted.")]
    seconds: Annotated[int, about("Seconds, from 3600 to 2592000.")]


class BatchBody(Body, kw_only=True):
    """Requests of a file, to be run later."""

    input_file_id: Annotated[str, about("The id of a file with the purpose 'batch'.")]
    endpoint: Annotated[Endpoint, about("The route of every request of the file.")]
    completion_window: Annotated[
        Literal["24h"],
        about("The time after which requests that have not run expire. Always '24h'."),
    ]
    metadata: Annotated[
        Object | None,
        about("Up to 16 keys and values of your own; both are strings."),
    ] = None
    output_expires_after: Annotated[
        OutputLifetime | None, about("When the files of answers expire. Default: never.")
    ] = None


def parse_batch(body: object, owner: str, caller: dict[str, Any]) -> Batch:
    """A new batch. Raises InvalidRequest naming the field."""
    given = read(BatchBody, body)
    ttl_s = None
    if given.output_expires_after is not None:
        seconds = given.output_expires_after.seconds
        ttl_s = check_lifetime("output_expires_after.seconds", seconds)
    now_s = int(time.time())
    return Batch(
        id=new_id("batch_"),
        owner=owner,
        caller=caller,
        endpoint=given.endpoint,
        input=given.input_file_id,
        output=new_id("file-"),
        errors=new_id("file-"),
        created_s=now_s,
        expires_s=now_s + WINDOW_S,
        output_ttl_s=ttl_s,
        metadata=_metadata(given.metadata),
    )


def _metadata(given: dict[str, Any] | None) -> dict[str, str] | None:
    if given is None:
        return None
    check_count("metadata", [*given], _MAX_METADATA)
    for key, value in given.items():
        if not isinstance(value, str):
            raise refuse("metadata", f"must have strings as values, not {shown(value)}")
        if len(key) > _MAX_KEY or len(value) > _MAX_VALUE:
            problem = f"has a key beyond {_MAX_KEY} or a value beyond {_MAX_VALUE} characters"
            raise refuse("metadata", problem)
    return given


def render_batch(batch: Batch) -> bytes:
    """One batch."""
    return orjson.dumps(_batch(batch))


def render_batches(batches: list[Batch], *, more: bool) -> bytes:
    """A page of batches."""
    return render_page([_batch(one) for one in batches], more=more)


def _batch(batch: Batch) -> dict[str, Any]:
    problems = [asdict(one) for one in batch.problems]
    counts = {"total": batch.total, "completed": batch.completed, "failed": batch.failed}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": problems} if problems else None,
        "input_file_id": batch.input,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output if batch.has_output else None,
        "error_file_id": batch.errors if batch.has_errors else None,
        "created_at": batch.created_s,
        "expires_at": batch.expires_s,
        **{f"{name}_at": batch.times.get(name) for name in _TIMES},
        "request_counts": counts,
        "usage": None if batch.usage is None else _usage(batch.usage),
        "metadata": batch.metadata,
    }


def _usage(tokens: dict[str, int]) -> dict[str, Any]:
    return {
        "input_tokens": tokens["prompt"],
        "input_tokens_details": {"cached_tokens": tokens["cached"]},
        "output_tokens": tokens["completion"],
        "output_tokens_details": {"reasoning_tokens": tokens["reasoning"]},
        "total_tokens": tokens["prompt"] + tokens["completion"],
    }
