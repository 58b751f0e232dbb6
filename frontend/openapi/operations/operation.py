"""One operation of the API, and how those that many objects have are made."""

from dataclasses import dataclass
from typing import Any

from msgspec import Struct

_ACCOUNTS = ("/admin/", "/me", "/key-requests")
PAGE = ("object", "data", "has_more", "next_after")
OBJECT = ("id", "object")
SSE, NDJSON = "text/event-stream", "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `example` names a kind of model where the request has `model`."""

    method: str
    path: str
    summary: str
    body: type[Struct] | None = None
    example: dict[str, Any] | None = None
    kind: str = ""
    answer: tuple[str, ...] = ()
    media: str = "application/json"
    also: str = ""
    """Another media type of the answer."""
    refuses: bool = False
    query: tuple[str, ...] = ()
    status: str = "200"
    also_status: str = ""
    """Of an answer that comes before the work is done."""

    @property
    def tag(self) -> str:
        """The protocol that it belongs to."""
        if self.path.startswith("/api/"):
            return "Ollama"
        if self.path.startswith("/v1/messages"):
            return "Anthropic"
        if self.path.startswith(_ACCOUNTS):
            return "Accounts"
        return "OpenAI" if self.path.startswith("/v1") else "Gateway"


def listing(path: str, summary: str, *filters: str) -> Operation:
    """A list that is read page by page."""
    return Operation("GET", path, summary, answer=PAGE, query=("limit", "after", *filters))


def managed(path: str, noun: str, made: type[Struct], edited: type[Struct]) -> list[Operation]:
    """The operations on one kind of object."""
    one = f"{path}/{{id}}"
    return [
        Operation("POST", path, f"Create {noun}", made, answer=OBJECT, status="201"),
        Operation("GET", one, f"Get {noun}", answer=OBJECT),
        Operation("PATCH", one, f"Edit {noun}", edited, answer=OBJECT),
        Operation("DELETE", one, f"Delete {noun}", answer=("id", "deleted")),
    ]
