"""What the audit keeps of requests: the policy of a group, and what is captured while one runs.

Plain data. Only a policy of `full` keeps any text; `metadata` has only the content's digest.
"""

import enum
import hashlib
from dataclasses import dataclass, field
from typing import Any

from frontend.domain.events import Event

_MAX_FAILURE = 16_000


class AuditLevel(enum.StrEnum):
    """How much of a group's requests is kept."""

    NONE = "none"
    """Nothing."""
    METADATA = "metadata"
    """Who, when, what and how it ended, with a digest in place of the content."""
    FULL = "full"
    """Prompts, answers and artifacts as well."""


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """`strict`: a request is refused rather than run without its record."""

    level: AuditLevel = AuditLevel.METADATA
    strict: bool = False

    @property
    def keeps_text(self) -> bool:
        """Whether prompts and answers are kept."""
        return self.level is AuditLevel.FULL


@dataclass(slots=True)
class Capture:
    """The content of one request as far as it was seen. Without `keeps_text` only its digest."""

    keeps_text: bool = False
    size_bytes: int = 0
    body: bytearray = field(default_factory=bytearray)
    answers: dict[tuple[int, int, int], dict[str, Any]] = field(default_factory=dict)
    """By the number of the prompt, the attempt, and the completion."""
    artifacts: list[tuple[str, bytes]] = field(default_factory=list)
    """Media types and contents of images that were read or made."""
    failure: str = ""
    """The text of an upstream's error, which callers never see."""
    _left: int = _MAX_FAILURE
    _hash: Any = field(default_factory=hashlib.sha256)

    def read(self, part: bytes, *, is_text: bool = True) -> None:
        """Takes a part of the request's body. An upload is not text, so only its digest counts."""
        if not part:
            return
        self.size_bytes += len(part)
        self._hash.update(part)
        if self.keeps_text and is_text:
            self.body += part

    def generated(self, prompt: int, attempt: int, events: list[Event]) -> None:
        """Takes what a model wrote."""
        if not self.keeps_text:
            return
        for event in events:
            answer = self.answers.setdefault((prompt, attempt, event.index), {"text": []})
            answer["text"].append(event.text)
            if event.reasoning:
                answer.setdefault("reasoning", []).append(event.reasoning)
            if event.tool_calls:
                answer.setdefault("tool_calls", []).extend(event.tool_calls)

    def forget(self, prompt: int, attempt: int) -> None:
        """Leaves out what was written of an answer that another upstream begins again."""
        for key in [one for one in self.answers if one[:2] == (prompt, attempt)]:
            del self.answers[key]

    def add_artifacts(self, files: "list[bytes] | tuple[bytes, ...]", media_type: str) -> None:
        """Takes images that were read or made."""
        if self.keeps_text:
            self.artifacts += [(media_type, bytes(file)) for file in files]

    def failed(self, text: str) -> None:
        """Takes the words of an upstream's error; there is one for each upstream that failed."""
        if self.keeps_text and text:
            kept = text[: self._left]
            self._left -= len(kept)
            self.failure += f"\n{kept}" if self.failure and kept else kept

    @property
    def digest(self) -> bytes | None:
        """SHA-256 of the request's body; None: there was none."""
        digest: bytes = self._hash.digest()
        return digest if self.size_bytes else None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One request. `id` has the moment in its upper bits (`store.audit.ids`)."""

    id: int
    request_id: str
    client_id: str
    group_id: str
    user_id: str
    user_name: str
    key_id: str
    dialect: str
    method: str
    route: str
    model: str
    upstream: str
    decision: str
    status: int
    error: str
    ran: bool
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    images: int
    credits_micro: int
    queue_us: int
    first_token_us: int | None
    duration_us: int
    address: str
    digest: bytes | None
    level: str


@dataclass(frozen=True, slots=True)
class AuditContent:
    """The content of a record of the policy `full`: JSON texts, and digests of its artifacts."""

    request: str
    answer: str
    words: str
    artifacts: tuple[tuple[str, str, int], ...] = ()
    """Digest, media type and size of each."""
