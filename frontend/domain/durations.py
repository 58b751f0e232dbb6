"""How long a model stays loaded, as Ollama writes it. Pure."""

import math
import re

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
# `ms` before `m`, or `5ms` would be five minutes and an `s`
_PART = r"(\d{1,12}(?:\.\d{0,12})?)(h|ms|m|s|us|µs|ns)"
_WHOLE = re.compile(rf"-?(?:{_PART})+")
_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{0,12})?")


def parse_duration(text: str) -> float:
    """Seconds: of a number, or of a duration in Go's notation such as `5m` or `1h30m`.

    A negative one is infinite. Raises ValueError for any other text.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    # strangers write this, and the pattern repeats
    elif len(text) <= 64 and _WHOLE.fullmatch(text):
        parts = re.findall(_PART, text)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        # Ollama takes every negative duration for "always"
        seconds = -1.0 if text.startswith("-") else seconds
    else:
        raise ValueError("must be a duration such as '5m', or a number of seconds")
    return math.inf if seconds < 0 else seconds
