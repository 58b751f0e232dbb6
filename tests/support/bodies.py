"""Reading back what the dialects render."""

from typing import Any

import orjson
import pytest

from frontend.errors import InvalidRequest


def sse(raw: bytes) -> list[dict[str, Any]]:
    """The JSON objects of a stream, which must end with `[DONE]`."""
    events = raw.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(one.startswith("data: ") for one in events[:-1])
    return [orjson.loads(one.removeprefix("data: ")) for one in events[:-2]]


def refused(parse: Any, *arguments: Any) -> InvalidRequest:
    """The refusal of a request."""
    with pytest.raises(InvalidRequest) as refusal:
        parse(*arguments)
    return refusal.value
