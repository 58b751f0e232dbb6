"""Who sends a request, and what they may do. Plain data; `accounts` has the rules."""

import enum
from dataclasses import dataclass


class Permission(enum.Enum):
    """What a route needs its caller to be allowed to do."""

    PUBLIC = "public"
    """Nothing: the route asks for no key."""
    INFER = "infer"
    """Send requests to models."""
    LOAD = "load"
    """Load and unload models."""
    OBSERVE = "observe"
    """Read the gateway's metrics."""


class Role(enum.StrEnum):
    """The part that a caller has."""

    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a key."""

    name: str
    role: Role


ANONYMOUS = Caller("anonymous", Role.USER)
"""Every caller without a key, where none is required. No key can have this name."""
