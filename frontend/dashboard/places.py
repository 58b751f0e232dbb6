"""The page to redirect to after a sign-in: the requested one, if it belongs to this gateway.

Pure. Browsers read `//host`, `/\\host` and a tab in between as another host, so only plain paths
are allowed, and none below `/login`, which would repeat the sign-in.
"""

import re
from urllib.parse import quote, unquote

HOME = "/dashboard"
_MAX = 1024
# printable ASCII without a space and a backslash; what else a path may hold is percent-encoded
_PLAIN = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def local_place(text: str) -> str:
    """The path with its query; "" for anything but a page of this gateway."""
    if len(text) > _MAX or not _PLAIN.fullmatch(text):
        return ""
    segments = unquote(text.partition("?")[0].partition("#")[0]).lower().split("/")[1:]
    # browsers resolve dots, so `/x/../login` is `/login`
    if segments[0] == "login" or "." in segments or ".." in segments or "\\" in "".join(segments):
        return ""
    return text


def to_cookie(place: str) -> str:
    """The place as the value of a cookie."""
    return quote(place, safe="")


def from_cookie(value: bytes) -> str:
    """The place in a cookie, whose value is not trusted; HOME if there is none."""
    return local_place(unquote(value.decode("latin-1"))) or HOME
