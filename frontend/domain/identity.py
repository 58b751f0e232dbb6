"""Who asks."""

from contextlib import ExitStack
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose request something is done for, and what is given back when that request ends."""

    name: str
    ends: ExitStack
