"""How large and how complex the schemas of one request may be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Each is checked before anything is compiled. The gateway's settings have the same names."""

    size_bytes: int = 120_000
    total_bytes: int = 1_000_000
    depth: int = 32
    properties: int = 5000
    enum: int = 1000
    expansion: int = 100_000
    patterns: int = 200
    pattern_size: int = 20_000
