"""Where a client reaches this gateway: the beginning of every link that the gateway writes."""

import re

from frontend.errors import InvalidRequest
from frontend.http.client import Client

_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")


def origin_of(client: Client, public_url: str) -> str:
    """As the operator says, or as the client itself did. Raises InvalidRequest for another Host."""
    if public_url:
        return public_url.rstrip("/")
    hosts = [value for name, value in client.scope["headers"] if name == b"host"]
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise InvalidRequest("links need a plain Host header: 'NAME' or 'NAME:PORT'", param="host")
    return f"{client.scope['scheme']}://{hosts[0].decode()}"
