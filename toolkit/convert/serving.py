"""What conversions use of the code that serves their results. Types only."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]


class Tokenizing(Protocol):
    """The tokenizer of a step `tokenize`: texts or pairs → the graph's inputs."""

    @property
    def context_length(self) -> int:
        """Tokens, special ones included."""

    def count(self, *texts: str) -> int:
        """Tokens of a text or a pair, however long it is."""

    def read(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """STRING tensors [B, 1] → INT64 [B, L], cut where `truncate` allows it."""
