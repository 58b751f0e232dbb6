"""Each reason to refuse a waiting request has an answer of its own in every dialect."""

import pytest

from frontend.domain.request import Dialect
from frontend.errors import (
    BackendTimeout,
    BackendUnavailable,
    GatewayError,
    Overloaded,
    RateLimited,
)
from frontend.http.failures import FORMATS

REASONS: list[tuple[GatewayError, int]] = [
    (RateLimited("64 of your requests wait", code="queue_limit_exceeded"), 429),
    (Overloaded("4096 requests wait"), 503),
    (BackendUnavailable("no model server"), 503),
    (BackendTimeout("it waited too long", code="queue_timeout"), 504),
]


@pytest.mark.parametrize("dialect", [*Dialect])
def test_reasons_are_distinct(dialect: Dialect) -> None:
    written = FORMATS[dialect]
    bodies = {written.body(error, "id") for error, _ in REASONS}
    assert len(bodies) == len(REASONS)
    for error, status in REASONS:
        is_busy = dialect is Dialect.ANTHROPIC and isinstance(error, Overloaded)
        assert written.status(error) == (529 if is_busy else status)
        if dialect is Dialect.OPENAI:
            assert f'"code":"{error.code}"'.encode() in written.body(error, "id")
