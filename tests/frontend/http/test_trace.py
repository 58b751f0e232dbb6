"""The log line is one line, whatever a client sends, and the gateway's own id is unique."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from frontend.domain.usage import Usage
from frontend.http.trace import Trace, current


def begin(path: str = "/", request_id: bytes | None = None) -> Trace:
    headers = [] if request_id is None else [(b"x-request-id", request_id)]
    return Trace.begin({"type": "http", "method": "GET", "path": path, "headers": headers})


@given(st.text(), st.binary(max_size=80))
def test_no_value_breaks_out_of_its_line(path: str, request_id: bytes) -> None:
    trace = begin(path, request_id)
    assert "\n" not in trace.line()
    record = orjson.loads(trace.line())
    assert record["path"] == path[:200]
    assert record["request_id"].isascii()


def test_a_sane_id_is_the_clients_the_other_one_is_never() -> None:
    first, second = begin(request_id=b"abc-1"), begin(request_id=b"abc-1")
    assert first.request_id == second.request_id == "abc-1"
    assert len({first.id, second.id, "abc-1"}) == 3
    assert current() is second


def test_usage_and_model_are_shown() -> None:
    trace = begin()
    trace.model, trace.usage = "m", Usage(3, 0, 4)
    record = orjson.loads(trace.line())
    assert (record["model"], record["prompt_tokens"], record["completion_tokens"]) == ("m", 3, 4)
    assert "error" not in record
