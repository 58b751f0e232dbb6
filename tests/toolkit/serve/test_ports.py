"""A port that is taken is found before anything is loaded, and its owner is named."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import free_port
from toolkit.errors import ServeError
from toolkit.serve.options import ServeOptions
from toolkit.serve.ports import check_free
from toolkit.serve.record import Record, recorded


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])  # noqa: S104
def test_a_taken_port_names_its_owner(taken: int, host: str) -> None:
    with pytest.raises(ServeError, match=f"process {os.getpid()} uses it") as refused:
        check_free([("--port", host, taken)])
    assert refused.value.hint == "choose another --port"


def test_every_port_is_looked_at(taken: int, tmp_path: Path) -> None:
    for option in ("ollama_port", "triton_http_port"):
        options = ServeOptions(tmp_path, port=free_port(), **{option: taken})
        with pytest.raises(ServeError) as refused:
            check_free(options.ports)
        assert option.replace("_", "-") in (refused.value.hint or "")


def test_a_service_that_still_loads_has_its_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path))
    port = free_port()
    with (
        recorded(Record.here(port, "unix:nowhere", tmp_path)),
        pytest.raises(ServeError, match="`toolkit serve` of"),
    ):
        check_free([("--port", "127.0.0.1", port)])
    check_free([("--port", "127.0.0.1", port)])


def test_one_port_for_two_purposes_is_refused() -> None:
    port = free_port()
    with pytest.raises(ServeError, match="are both"):
        check_free([("--port", "127.0.0.1", port), ("--ollama-port", "127.0.0.1", port)])


def test_a_host_that_is_none_is_refused() -> None:
    with pytest.raises(ServeError, match="is not an address"):
        check_free([("--port", "no.such.host.invalid", free_port())])
