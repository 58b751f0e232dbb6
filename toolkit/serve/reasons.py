"""Why a model does not load, as one sentence, from Triton's error message.

Tracebacks, status codes and printed objects are only in the log.
"""

import json
import re
from contextlib import suppress

_MARKER = "toolkit-error:"
_LONGEST = 400
_STATUS = re.compile(r"^(Internal|Invalid argument|Unavailable|Not found|Unknown|Unsupported): ")
_PYDANTIC = re.compile(r"validation errors? for \w+\s+(?:Value error, )?(.*?)\s*\[type=", re.DOTALL)


def plain(reason: str) -> str:
    """The reason in one sentence."""
    if marked := _marked(reason):
        return marked
    # Triton's own words come first, then pybind11's traceback after "At:"
    text = reason.rpartition("state: ")[2].partition("\n\nAt:")[0].strip().rstrip(";")
    # each layer of Triton puts its status before the text
    while _STATUS.match(text):
        text = _STATUS.sub("", text)
    if dump := _PYDANTIC.search(text):
        text = dump[1]
    text = " ".join(text.split()).rstrip(";")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _marked(reason: str) -> str | None:
    """The message of an error that one of the toolkit's models raised."""
    _, marker, payload = reason.partition(_MARKER)
    if marker:
        with suppress(ValueError, AttributeError):
            value, _ = json.JSONDecoder().raw_decode(payload.strip())
            return str(value.get("message") or "") or None
    return None
