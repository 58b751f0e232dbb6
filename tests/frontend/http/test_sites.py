"""Which names and which web pages a gateway without keys answers."""

import re
from typing import Any

import pytest

from frontend.errors import Forbidden
from frontend.http.sites import Sites, name_of, sites_of


def sites(listening: str = "127.0.0.1", **changed: Any) -> Sites:
    given: dict[str, Any] = {"hosts": [], "origins": [], "public_url": "", "keyed": False}
    return sites_of(listening, **given | changed)


def refused(of: Sites, host: str | None, *origins: str) -> str | None:
    """The field that a request is refused for."""
    headers = [(b"accept", b"*/*")]
    headers += [(b"host", host.encode("latin-1"))] if host is not None else []
    headers += [(b"origin", origin.encode("latin-1")) for origin in origins]
    try:
        of.check(headers)
    except Forbidden as error:
        return error.param if len(error.message) < 300 else "too long"
    return None


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9000", "localhost.:9000", "a.localhost", "127.0.0.1:1", "127.9.9.9",
     "[::1]:9000", "[::1]"],
)  # fmt: skip
@pytest.mark.parametrize("listening", ["127.0.0.1", "localhost", "::1", "::", "10.1.2.3"])
def test_loopback_is_always_a_name_of_the_gateway(listening: str, host: str) -> None:
    assert refused(sites(listening), host) is None


REBOUND = ["evil.example", "evil.example:9000", "localhost.evil.example", "127.0.0.1.evil.example",
           "localhost.evil", "evil.example.", "ü.example", "127.0.0.1@evil.example",
           "a" * 5000 + ".example"]  # fmt: skip


@pytest.mark.parametrize("host", REBOUND)
@pytest.mark.parametrize("listening", ["127.0.0.1", "::", "gpu-box"])
def test_a_strangers_name_is_refused(listening: str, host: str) -> None:
    assert refused(sites(listening), host) == "host"


OUTER = ["xlocalhost", "192.0.2.1", "[2001:db8::1]:9000", "box:9000", "frontend",
         "gateway.models.svc:9000", "a.svc.cluster.local", "b.local", "10.1.2.3:9000"]  # fmt: skip


@pytest.mark.parametrize("host", OUTER)
def test_what_cannot_be_rebound_is_taken_where_others_listen_alone(host: str) -> None:
    assert refused(sites("10.9.9.9"), host) is None
    assert refused(sites("::"), host) is None
    assert refused(sites("127.0.0.1"), host) == "host"


def test_a_gateway_with_keys_answers_under_every_name() -> None:
    assert refused(sites(keyed=True), "evil.example", "https://evil.example") is None


def test_listed_hosts_are_taken() -> None:
    listed = sites(hosts=["llm.example", "*.corp.example", "[2001:db8::1]", "10.0.0.1"])
    for host in ("llm.example:1", "LLM.example", "a.b.corp.example", "[2001:db8::1]:9", "10.0.0.1"):
        assert refused(listed, host) is None, host
    for host in ("xllm.example", "llm.example.evil", "corp.example", "10.0.0.10", "llmxexample"):
        assert refused(listed, host) == "host", host
    assert refused(sites(hosts=["*"]), "evil.example") is None
    assert refused(sites(public_url="https://llm.example/base"), "llm.example") is None
    assert refused(sites("gpu.corp.example"), "gpu.corp.example:9000") is None


def test_only_http_1_0_has_no_host() -> None:
    assert refused(sites(), None) is None
    assert refused(sites(), "") is None  # the protocol refuses it


@pytest.mark.parametrize("origin", ["http://localhost:9000", "https://localhost:9000"])
def test_its_own_pages_may_use_it(origin: str) -> None:
    assert refused(sites(), "localhost:9000", origin) is None
    assert refused(sites(), "LocalHost:9000", origin) is None


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "http://localhost", "http://localhost:90000",
     "http://localhost:9000.evil.example", "http://evil.example:9000", "ftp://localhost:9000",
     "http://localhost:9000/", "ü", "file://"],
)  # fmt: skip
def test_other_pages_may_not(origin: str) -> None:
    assert refused(sites(), "localhost:9000", origin) == "origin"
    assert refused(sites(), "localhost:9000", "http://localhost:9000", origin) == "origin"
    assert refused(sites(), None, origin) == "origin"


def test_listed_origins_may() -> None:
    listed = sites(origins=["https://a.example", "https://*.b.example", "app://*"])
    for origin in (
        "https://a.example",
        "HTTPS://A.example",
        "https://x.b.example",
        "app://obsidian.md",
    ):
        assert refused(listed, "localhost", origin) is None, origin
    for origin in ("http://a.example", "https://a.example:1", "https://b.example", "https://xa.example",
                   "https://evil.example/.b.example", "https://a.example.evil"):  # fmt: skip
        assert refused(listed, "localhost", origin) == "origin", origin
    assert refused(sites(origins=["*"]), "localhost", "https://evil.example") is None
    assert (
        refused(sites(public_url="https://llm.example/x"), "localhost", "https://llm.example")
        is None
    )


def test_names_are_read_without_port_and_brackets() -> None:
    given = [b"[::1]:9", b"A.B:9", b"a.", b"1.2.3.4:", b"a:b:c", b""]
    assert list(map(name_of, given)) == ["::1", "a.b", "a", "1.2.3.4", "", ""]


def test_patterns_are_no_regular_expressions() -> None:
    assert refused(sites(hosts=["a.b|evil.example", "(", "["]), "evil.example") == "host"
    assert sites(hosts=["(x+)+$"]).hosts != re.compile("(x+)+$")
