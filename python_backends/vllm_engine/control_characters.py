"""Keeps control characters, which xgrammar allows by mistake, out of JSON strings.

xgrammar 0.2.8 takes raw control characters inside strings whose length is bounded (measured: U+0007
and tabs where `maxLength` stands, none elsewhere). A request with such a schema gets a bias against
the tokens that contain them, except line feeds, which are allowed only between values.
"""

import json
from collections.abc import Mapping
from typing import Any

from python_backends.vllm_engine.vocabulary import Vocabulary

_LEAST_BIAS = -100.0
_MARKS = ('minLength"', 'maxLength"')


class ControlCharacters:
    """The tokens of a vocabulary that contain control characters other than line feeds."""

    def __init__(self, vocabulary: Vocabulary, size: int) -> None:
        self.token_ids = [
            number
            for number in range(size)
            if any(byte < 0x20 and byte != 0x0A for byte in vocabulary.bytes_of(number))
        ]
        # text, as the ids in a request's JSON object are
        self._bias = {str(number): _LEAST_BIAS for number in self.token_ids}

    def excluded(self, sampling: Mapping[str, Any]) -> Mapping[str, Any]:
        """The sampling parameters, with the bias where the structure asks for bounded strings."""
        structured = sampling.get("structured_outputs")
        if not isinstance(structured, Mapping) or not _bounds_strings(structured):
            return sampling
        given = sampling.get("logit_bias") or {}
        if not isinstance(given, Mapping):
            return sampling  # refused where sampling parameters are read
        # the bias is added last: a client's own must not bring the characters back
        return {**sampling, "logit_bias": {**given, **self._bias}}


def _bounds_strings(structured: Mapping[str, Any]) -> bool:
    for name in ("json", "structural_tag"):
        value = structured.get(name)
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            return any(mark in text for mark in _MARKS)
    return False
