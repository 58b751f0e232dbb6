"""Responses to what never becomes a request: bytes that are not HTTP, or beyond a limit."""

import re
import uuid
from functools import lru_cache
from http import HTTPStatus

import httptools

from frontend.dialects.openai.failures import render_error
from frontend.errors import GatewayError, InvalidRequest

# llhttp accepts some 30 more, of WebDAV and RTSP; the routes here do not have them
METHODS = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"),
)
_HOST = re.compile(
    rb"(?P<name>[a-z0-9._~!$&'()*+,;=%-]+|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{0,5}))?", re.IGNORECASE
)


def refusal_of(error: GatewayError, request_id: str = "") -> bytes:
    """A whole response that closes its connection."""
    error.message = f"{error.message}; the connection is closed"
    body = render_error(error)
    retry = f"retry-after: {error.retry_after_s}\r\n" if error.retry_after_s is not None else ""
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{retry}"
        f"x-request-id: {request_id or uuid.uuid4().hex}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def check_head(
    version: str, method: bytes, hosts: tuple[bytes, ...], encoding: bytes | None
) -> None:
    """Raises InvalidRequest for what the parser accepts, and RFC 9112 or this gateway does not."""
    if version not in ("1.1", "1.0"):
        raise InvalidRequest(f"HTTP/{version} is not supported; use HTTP/1.1", param="version")
    if method not in METHODS:
        raise InvalidRequest(
            f"the method '{method.decode('latin-1')}' is not supported", param="method"
        )
    # RFC 9112 (section 3.2): exactly one, else a proxy may choose another one than this server
    if len(hosts) != 1:
        if hosts:
            raise InvalidRequest("the request has more than one Host header", param="host")
        if version == "1.1":
            raise InvalidRequest("the request has no Host header", param="host")
    elif not is_host(hosts[0]):
        raise InvalidRequest("the Host header is not 'NAME' or 'NAME:PORT'", param="host")
    if encoding is None:
        return
    # RFC 9112 (section 6.1): such framing must be treated as faulty
    if version == "1.0":
        problem = "an HTTP/1.0 request cannot have a Transfer-Encoding"
        raise InvalidRequest(problem, param="transfer-encoding")
    # `gzip, chunked` and the like: two readers may disagree about where the body ends
    if encoding.lower() != b"chunked":
        shown = encoding[:60].decode("latin-1")
        problem = f"the Transfer-Encoding '{shown}' is not supported; use 'chunked'"
        raise InvalidRequest(problem, param="transfer-encoding")


def check_target(target: bytes, hosts: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """The path and the query of a request's target. Raises InvalidRequest if it is not a valid
    path, or names another host than the Host header."""
    try:
        parsed = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise InvalidRequest("the request's target is not a valid path", param="target") from None
    if parsed.schema is not None:  # what a proxy is sent; the host in it is the one that counts
        authority = target.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
        if (authority.lower(),) != tuple(host.lower() for host in hosts):
            raise InvalidRequest("the request's target and its Host header differ", param="host")
    return parsed.path or b"/", parsed.query or b""


# bounded, because hosts come from strangers
@lru_cache(1024)
def is_host(value: bytes) -> bool:
    """Whether it is a host with or without a port, as RFC 9110 (section 7.2) has it."""
    match = _HOST.fullmatch(value)
    return match is not None and int(match["port"] or 0) <= 65535
