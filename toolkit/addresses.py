"""Checks the URLs that the toolkit requests: https, or http to this machine only.

Secrets never follow a redirect to another host, and never get into a message.
"""

import ipaddress
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from toolkit.errors import SourceError


def shown(url: str) -> str:
    """A URL without its credentials and its query, which may hold a signature."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def check_url(url: str) -> None:
    """Raises SourceError unless `url` is https, or http to this machine itself."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    raise SourceError(
        f"'{shown(url)}' is not https",
        hint="use an https address; weights are downloaded over https only",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows only to where `check_url` allows; credentials stay with their host."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            # urllib would follow from https to http, and to ftp
            check_url(newurl)
        except SourceError:
            fp.close()
            raise
        fresh = super().redirect_request(req, fp, code, msg, headers, newurl)
        if fresh is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            # the Hub redirects to a store with signed URLs, and urllib would pass it the token
            fresh.remove_header("Authorization")
            fresh.remove_header("Cookie")
        return fresh


OPENER = urllib.request.build_opener(_Redirects)
