"""Uploaded files, and batches of requests that run later. Plain data; times are seconds since 1970.

Ids begin with the time, so that their order is the order of creation, and end in 64 random bits.
"""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal[
    "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling",
    "cancelled",
]  # fmt: skip
FINISHED: frozenset[str] = frozenset({"completed", "failed", "expired", "cancelled"})
BATCH, OUTPUT = "batch", "batch_output"
"""Purposes of a file: requests that a caller uploads, and their answers."""


def new_id(kind: str) -> str:
    """An id that cannot be guessed."""
    return f"{kind}{time.time_ns() // 1000:014x}{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True)
class Upload:
    """The description of an uploaded file."""

    id: str
    owner: str
    name: str
    purpose: str
    size_bytes: int
    created_s: int
    expires_s: int | None = None


@dataclass(frozen=True, slots=True)
class LineError:
    """Why a batch cannot run; `line` counts from 1."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch. `output` and `errors` are the ids of files that exist once it has finished and
    they are not empty; `caller` is the owner as the store keeps it."""

    id: str
    owner: str
    caller: dict[str, Any]
    endpoint: str
    input: str
    output: str
    errors: str
    created_s: int
    expires_s: int
    status: Status = "validating"
    times: dict[str, int] = field(default_factory=dict)
    """When it came to each further status."""
    problems: tuple[LineError, ...] = ()
    total: int = 0
    completed: int = 0
    failed: int = 0
    has_output: bool = False
    has_errors: bool = False
    usage: dict[str, int] | None = None
    """Tokens of all its answers, once it has finished: prompt, cached, completion, reasoning."""
    output_ttl_s: int | None = None
    metadata: dict[str, str] | None = None
