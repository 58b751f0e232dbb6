"""Why a model does not load, as one sentence, from what Triton passes on of its Python.

Tracebacks, status words and dumps of objects stay in the log.
"""

import json
import re
from contextlib import suppress

_MARKER = "toolkit-error:"
_LONGEST = 400
_STATUS = re.compile(r"^(Internal|Invalid argument|Unavailable|Not found|Unknown|Unsupported): ")
_PYDANTIC = re.compile(r"validation errors? for \w+\s+(?:Value error, )?(.*?)\s*\[type=", re.DOTALL)


def plain(reason: str) -> str:
    """The sentence that a person can act on."""
    if marked := _marked(reason):
        return marked
    text = reason.rpartition("state: ")[2].partition("\n\nAt:")[0].strip().rstrip(";")
    while _STATUS.match(text):
        text = _STATUS.sub("", text)
    if dump := _PYDANTIC.search(text):
        text = dump[1]
    text = " ".join(text.split()).rstrip(";")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _marked(reason: str) -> str | None:
    """The message of an error that our own models raised."""
    _, found, payload = reason.partition(_MARKER)
    if found:
        with suppress(ValueError, AttributeError):
            value, _ = json.JSONDecoder().raw_decode(payload.strip())
            return str(value.get("message") or "") or None
    return None
