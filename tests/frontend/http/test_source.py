"""Where a request comes from: only proxies in the settings are trusted, as far as they wrote."""

from ipaddress import ip_network
from typing import Any

import pytest

from frontend.http.source import source_of

PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", text.encode()) for text in forwarded]
    return {"client": None if peer is None else (peer, 1), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, x, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("::ffff:10.0.0.1", ["2001:db8::2, 198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], ""),
    ],
)
def test_the_sender(peer: str | None, forwarded: list[str], source: str) -> None:
    assert source_of(scope(peer, *forwarded), PROXIES) == source


def test_without_proxies_the_header_is_not_read() -> None:
    assert source_of(scope("10.0.0.1", "198.51.100.1"), ()) == "10.0.0.1"
