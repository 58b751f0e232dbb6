"""Errors never send much back of what a caller sent."""

from frontend.errors import InvalidRequest
from frontend.upstreams.triton.failures import from_message


def test_messages_and_params_are_cut() -> None:
    error = InvalidRequest("x" * 10**6, param="y" * 10**6)
    assert (len(error.message), len(str(error)), len(error.param or "")) == (500, 500, 200)
    assert error.message.endswith("…")
    short = InvalidRequest("x" * 500, param=None)
    assert (short.message, short.param) == ("x" * 500, None)


def test_what_a_model_says_is_cut_too() -> None:
    text = 'toolkit-error:{"message": "' + "x" * 10**6 + '", "status": 400}'
    assert len(from_message(text, "id").message) == 500
