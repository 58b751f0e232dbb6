"""Whether a request comes from somebody who looks at pages."""

from collections.abc import Iterable


def wants_page(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the client asks for HTML by name, as only browsers do."""
    accepted = b",".join(value for name, value in headers if name == b"accept")
    for part in accepted.split(b","):
        kind, *options = [one.strip().lower() for one in part.split(b";")]
        if kind in (b"text/html", b"application/xhtml+xml"):
            return not any(one.replace(b" ", b"").rstrip(b"0.") == b"q=" for one in options)
    return False
