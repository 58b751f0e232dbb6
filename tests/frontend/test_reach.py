"""Addresses of registered upstreams: checked when registered, and again when connected to."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from frontend.address import Address, BadAddress, parse_grpc, parse_server
from frontend.domain.upstreams import Backend
from frontend.engines import BadUpstream, Engines
from frontend.errors import UpstreamLost
from frontend.reach import Reach
from frontend.upstreams.ollama import Ollama


def backend(url: str, engine: Any) -> Backend:
    return Backend(
        "id", "a", url, engine, None, None, None, 0, False, [], [], None, None, True, None, 0, 0
    )


def names(*answers: str) -> Any:
    """Resolves a name to one answer after the other."""
    left = [*answers]

    async def resolve(host: str, port: int) -> list[Address]:
        return [ip_address(left.pop(0))]

    return resolve


async def test_a_name_that_leads_inside_later_is_refused_when_connecting() -> None:
    reach = Reach(resolve=names("93.184.215.14", "10.0.0.5"))
    assert await reach.addresses(parse_grpc("triton.example.org:8001"))
    with pytest.raises(BadUpstream, match="'url' of a: it is at an address that is not public"):
        await Engines(1).make_registered(backend("triton.example.org:8001", "triton"), reach, None)


async def test_a_web_server_is_checked_at_each_connection() -> None:
    member = await Engines(1).make_registered(
        backend("http://127.0.0.1:9", "ollama"), Reach(), None
    )
    assert isinstance(member.upstream, Ollama)
    with pytest.raises(UpstreamLost, match="at an address that is not allowed"):
        await member.upstream.web.read("GET", "/api/tags")


async def test_a_name_with_one_private_address_is_refused() -> None:
    async def resolve(host: str, port: int) -> list[Address]:
        return [ip_address("93.184.215.14"), ip_address("192.168.0.1")]

    with pytest.raises(BadAddress, match="not public"):
        await Reach(resolve=resolve).addresses(parse_server("https://example.org"))
    allowed = Reach((ip_network("192.168.0.0/24"),), resolve)
    assert len(await allowed.addresses(parse_server("https://example.org"))) == 2
