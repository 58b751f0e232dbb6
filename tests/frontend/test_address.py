"""Image URLs: one way to read them, and no way around the rule on addresses."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.address import BadAddress, Location, is_allowed, is_public, parse_url


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://a.example", Location("a.example", 443, "/")),
        ("https://A.Example:8443/x%20y?q=1#part", Location("a.example", 8443, "/x%20y?q=1")),
        ("https://a.example?q", Location("a.example", 443, "/?q")),
        ("https://a.example./x", Location("a.example", 443, "/x")),
        ("https://1.2.3.4/", Location("1.2.3.4", 443, "/")),
        ("https://[2606:4700::0001]/", Location("2606:4700::1", 443, "/")),
        ("https://a.example/@b:c", Location("a.example", 443, "/@b:c")),
    ],
)
def test_plain_urls(url: str, location: Location) -> None:
    assert parse_url(url) == location


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://a.example/",
        "file:///etc/passwd",
        "https:a.example",
        "https:///x",
        "https://user@a.example/",
        "https://a.example:443@127.0.0.1/",
        "https://a.example\\@127.0.0.1/",
        "https://127.0.0.1\\.a.example/",
        "https://a.example/\\x",
        "https://a.example\t/",
        " https://a.example/",
        "https://a.example/\r\nhost: b",
        "https://a.example/ü",
        "https://ｅxample.com/",
        "https://１２７.０.０.１/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://127.0.0.0x1/",
        "https://1.2.3/",
        "https://1.2.3.4.5/",
        "https://1.2.3.256/",
        "https://a.example:0/",
        "https://a.example:99999/",
        "https://a..example/",
        "https://-a.example/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://[g::]/",
        "https://a.example/" + "x" * 2048,
    ],
)
def test_urls_that_are_not_taken(url: str) -> None:
    with pytest.raises(BadAddress):
        parse_url(url)


@given(st.text(max_size=30))
def test_whatever_is_taken_is_put_together_from_its_parts(rest: str) -> None:
    url = f"https://{rest}"
    try:
        location = parse_url(url)
    except BadAddress:
        return
    assert not set(location.host) & set("@\\/?# \t\r\n%")
    assert parse_url(f"https://{location.authority}{location.target}") == location


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.1", "0.1.2.3", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *("240.0.0.1", "192.0.0.8", "::", "::1", "fe80::1", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1"),
        *("64:ff9b:1::1", "2002:7f00:1::", "2001:0:4136:e378::", "2001:db8::1", "3fff::1"),
        *("100::1", "fec0::1", "5f00::1"),
    ],
)
def test_addresses_that_are_nobodys_business(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_networks_that_the_operator_names() -> None:
    networks = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8"))
    found = [is_allowed(ipaddress.ip_address(a), networks) for a in ("10.1.9.9", "fd00::1")]
    assert found == [True, True]
    assert not is_allowed(ipaddress.ip_address("10.2.0.1"), networks)


@pytest.mark.parametrize(
    ("to", "location"),
    [
        ("/y", Location("a.example", 8443, "/y")),
        ("https://b.example/z", Location("b.example", 443, "/z")),
    ],
)
def test_redirects_are_read_by_the_same_parser(to: str, location: Location) -> None:
    assert Location("a.example", 8443, "/x").follow(to) == location


@pytest.mark.parametrize("to", ["//b.example/", "/\\b.example", "y", "http://a.example/", ""])
def test_redirects_that_are_not_followed(to: str) -> None:
    with pytest.raises(BadAddress):
        Location("a.example", 443, "/x").follow(to)
