"""Durations as Ollama writes them: seconds, or a text such as `5m` or `1h30m`; -1 is forever."""

import re
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
_PART = r"(\d{1,9}(?:\.\d{1,9})?)(h|ms|m|s)"
_WHOLE = re.compile(rf"(?:{_PART})+")
FOREVER = -1.0


def parse_seconds(value: object) -> float:
    """Seconds, or FOREVER for a negative number. Raises ValueError if it is not a duration."""
    if isinstance(value, str) and len(value) <= 64 and _WHOLE.fullmatch(value):
        parts = re.findall(_PART, value)
        return float(sum(float(number) * _UNITS[unit] for number, unit in parts))
    # Ollama takes these two as text without a unit
    if value == "-1" or value == "0":
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9:
        return float(value) if value >= 0 else FOREVER
    raise ValueError("must be a duration such as 5m or 1h30m, a number of seconds, or -1")


Duration = Annotated[float, BeforeValidator(parse_seconds, json_schema_input_type=float | str)]
