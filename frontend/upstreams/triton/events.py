"""The contract's `event` tensor as the canonical events. Pure."""

from typing import Any

import orjson

from frontend.domain.events import Event
from frontend.errors import BackendFailed
from frontend.upstreams.triton.tensors import unpack_bytes


def read_events(raw: bytes) -> list[Event]:
    """Raises BackendFailed when the tensor does not hold what the contract says."""
    try:
        return [_event(orjson.loads(element)) for element in unpack_bytes(raw)]
    except (ValueError, KeyError, TypeError) as error:
        raise BackendFailed("the model's answer cannot be read") from error


def _event(value: dict[str, Any]) -> Event:
    usage = value["usage"]
    return Event(
        value["index"],
        value["text"],
        value["token_ids"],
        value["finish_reason"],
        value["stop_reason"],
        usage["prompt_tokens"],
        usage["cached_tokens"],
        usage["completion_tokens"],
        value.get("logprobs"),
        value.get("prompt_logprobs"),
        value.get("prompt_token_ids"),
        value.get("reasoning"),
        value.get("tool_calls"),
        usage.get("reasoning_tokens", 0),
        value.get("unread", ""),
    )
