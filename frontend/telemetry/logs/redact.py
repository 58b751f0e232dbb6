"""Takes secrets out of texts that go into the log. Pure.

The code logs no text of requests and of upstreams in the first place; this is the second line of
defence, for texts that quote a key or a URL.
"""

import re
import traceback

HIDDEN = "[redacted]"
_MAX_TEXT = 8000
_FRAMES = 30
_SECRETS = re.compile(
    r"\b(?:tt-[a-z0-9]{16}-[0-9A-Za-z]{43}"  # the gateway's own keys
    r"|(?:sk|pk|hf|xox[a-z]|gh[a-z])[-_][A-Za-z0-9_-]{12,}"  # keys of known services
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]{10,})"  # JSON Web Tokens
    r"|(?<=://)[^/\s@'\"]+(?=@)"  # user:password@ in a URL
    r"|(?<=://)(?P<place>[^\s?'\"]+)\?[^\s'\"]+"  # a signature in its query
    r"|(?i:(?P<scheme>bearer|basic|splunk|apikey)\s+[A-Za-z0-9+/._~=-]{8,})"
)


def redact(text: str) -> str:
    """The text, with everything that looks like a secret removed, in at most 8000 characters."""
    if len(text) > _MAX_TEXT:
        text = f"{text[:_MAX_TEXT]}…"
    return _SECRETS.sub(_hide, text)


def looks_secret(text: str) -> bool:
    """Whether there is a secret in a text."""
    return _SECRETS.search(text) is not None


def _hide(match: re.Match[str]) -> str:
    if match["place"] is not None:
        return f"{match['place']}?{HIDDEN}"
    return HIDDEN if match["scheme"] is None else f"{match['scheme']} {HIDDEN}"


def describe(error: BaseException) -> str:
    """An exception's type, and the system's own words. Never its text, which may be a prompt."""
    name = type(error).__name__
    return f"{name}: {error.strerror}" if isinstance(error, OSError) and error.strerror else name


def stack_of(error: BaseException) -> list[str]:
    """Where an exception comes from, with those that led to it, and without their texts."""
    lines: list[str] = []
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        lines.append(describe(one))
        frames = traceback.extract_tb(one.__traceback__)[-_FRAMES:]
        lines += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return lines
