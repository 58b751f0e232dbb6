"""Events are read as the contract has them, or the answer cannot be read."""

import pytest

from frontend.errors import BackendFailed
from frontend.upstreams.triton.events import read_events
from frontend.upstreams.triton.tensors import pack_texts


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"index": 0}', '"text"'])
def test_an_event_that_cannot_be_read_is_the_backends_failure(text: str) -> None:
    with pytest.raises(BackendFailed):
        read_events(pack_texts([text]))
