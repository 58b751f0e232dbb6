"""Where a browser goes after a sign-in: the page that it asked for, if that is one of this gateway.

Pure. A browser takes `//host`, `/\\host` and a tab in between for another host, so only plain paths
pass, and nothing below `/login`, which would lead in a circle or begin another sign-in.
"""

import re
from urllib.parse import quote, unquote

HOME = "/dashboard"
_MAX = 1024
# printable ASCII without a space and a backslash; what else a path may hold is percent-encoded
_PLAIN = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def local_place(text: str) -> str:
    """The path with its query; "" for everything that is not a page here."""
    if len(text) > _MAX or not _PLAIN.fullmatch(text):
        return ""
    segments = unquote(text.partition("?")[0].partition("#")[0]).lower().split("/")[1:]
    # browsers resolve dots, so `/x/../login` is `/login`
    if segments[0] == "login" or "." in segments or ".." in segments or "\\" in "".join(segments):
        return ""
    return text


def to_cookie(place: str) -> str:
    """As the value of a cookie."""
    return quote(place, safe="")


def from_cookie(value: bytes) -> str:
    """The place of a cookie, which anybody may have written; HOME for none."""
    return local_place(unquote(value.decode("latin-1"))) or HOME
