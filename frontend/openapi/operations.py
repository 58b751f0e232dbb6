"""Every route with what it takes and an example that runs. Pure data; `build` makes a document."""

from dataclasses import dataclass
from typing import Any

from frontend.openapi import fields
from frontend.openapi.fields import Table


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `example` names a kind of model where the request has `model`."""

    method: str
    path: str
    summary: str
    body: Table | None = None
    required: tuple[str, ...] = ()
    example: dict[str, Any] | None = None
    kind: str = ""
    answer: tuple[str, ...] = ()
    media: str = "application/json"
    streams: str = ""
    refuses: bool = False

    @property
    def tag(self) -> str:
        """Whose protocol it is."""
        if self.path.startswith("/api/") or self.path == "/":
            return "Ollama"
        if self.path.startswith("/v1/messages"):
            return "Anthropic"
        return "OpenAI" if self.path.startswith("/v1") else "Gateway"


_HI = [{"role": "user", "content": "Say hello."}]
_SSE, _NDJSON = "text/event-stream", "application/x-ndjson"
_CHAT: dict[str, Any] = {"messages": _HI, "max_tokens": 8}
_RANKED: dict[str, Any] = {"query": "pets", "documents": ["a cat", "a car"]}
_SCORED: dict[str, Any] = {"queries": "pets", "documents": ["a cat", "a car"]}


def _ranking(path: str, summary: str) -> Operation:
    answer = ("id", "results")
    need = ("model", "query", "documents")
    return Operation("POST", path, summary, fields.RERANK, need, _RANKED, "rerank", answer)


def _scoring(path: str) -> Operation:
    answer = ("id", "data", "usage")
    summary = "Scores of pairs of texts"
    return Operation("POST", path, summary, fields.SCORE, ("model",), _SCORED, "rerank", answer)


def _refused(method: str, path: str) -> Operation:
    return Operation(method, path, "Refused: models are the operator's", refuses=True)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST", "/v1/chat/completions", "Answer a conversation", fields.CHAT,
        ("model", "messages"), _CHAT, "chat", ("id", "choices", "usage"), streams=_SSE,
    ),
    Operation(
        "POST", "/v1/completions", "Continue texts, or fill in their middle", fields.COMPLETION,
        ("model", "prompt"), {"prompt": "Once upon", "max_tokens": 8}, "completion",
        ("id", "choices", "usage"), streams=_SSE,
    ),
    Operation(
        "POST", "/v1/responses", "Answer, and remember for the next turn", fields.RESPONSE,
        ("model",), {"input": "Say hello.", "max_output_tokens": 8}, "chat",
        ("id", "object", "status", "output"), streams=_SSE,
    ),
    Operation(
        "POST", "/v1/responses/input_tokens", "Count the tokens of a request", fields.RESPONSE,
        ("model",), {"input": "Say hello."}, "chat", ("object", "input_tokens"),
    ),
    Operation("GET", "/v1/responses/{id}", "A stored response", answer=("id", "output")),
    Operation("DELETE", "/v1/responses/{id}", "Forget a response", answer=("id", "deleted")),
    Operation(
        "GET", "/v1/responses/{id}/input_items", "What led to a response", answer=("data",)
    ),
    Operation(
        "POST", "/v1/responses/{id}/cancel", "Refused: there are no background responses",
        refuses=True,
    ),
    Operation(
        "POST", "/v1/embeddings", "Vectors of texts or of token ids", fields.EMBEDDING,
        ("model", "input"), {"input": ["a cat", "a dog"]}, "embedding", ("data", "model", "usage"),
    ),
    Operation(
        "POST", "/v1/images/generations", "Draw", fields.IMAGE, ("model", "prompt"),
        {"prompt": "a cat", "seed": 1}, "image", ("created", "data", "usage"), streams=_SSE,
    ),
    Operation("GET", "/v1/images/files/{name}", "A drawn image, by its link", media="image/*"),
    Operation("POST", "/v1/images/edits", "Refused: models draw from a prompt", refuses=True),
    Operation("POST", "/v1/images/variations", "Refused: models draw from a prompt", refuses=True),
    Operation("GET", "/v1/models", "What is served", answer=("object", "data")),
    Operation("GET", "/v1/models/{model}", "One model", answer=("id", "object")),
    _ranking("/v1/rerank", "Order documents by a query"),
    _ranking("/rerank", "As /v1/rerank"),
    _ranking("/v2/rerank", "As Cohere has it: documents are told if asked for"),
    _scoring("/v1/score"),
    _scoring("/score"),
    Operation(
        "POST", "/v1/messages", "Answer a conversation", fields.MESSAGE,
        ("model", "messages", "max_tokens"), _CHAT, "chat",
        ("id", "type", "content", "usage"), streams=_SSE,
    ),
    Operation(
        "POST", "/v1/messages/count_tokens", "Count the tokens of a request", fields.COUNT,
        ("model", "messages"), {"messages": _HI}, "chat", ("input_tokens",),
    ),
    Operation("GET", "/", "A sign of life, as Ollama's", media="text/plain"),
    Operation("GET", "/api/version", "The version of the protocol", answer=("version",)),
    Operation("GET", "/api/tags", "What is served", answer=("models",)),
    Operation("GET", "/api/ps", "What is loaded", answer=("models",)),
    Operation(
        "POST", "/api/show", "One model", fields.OLLAMA_SHOW, ("model",), {}, "chat",
        ("details", "capabilities"),
    ),
    Operation(
        "POST", "/api/chat", "Answer a conversation", fields.OLLAMA_CHAT, ("model",),
        {"messages": _HI, "stream": False, "options": {"num_predict": 8}}, "chat",
        ("model", "done"), streams=_NDJSON,
    ),
    Operation(
        "POST", "/api/generate", "Continue a text, or draw", fields.OLLAMA_GENERATE, ("model",),
        {"prompt": "Once upon", "stream": False, "options": {"num_predict": 8}}, "chat",
        ("model", "done"), streams=_NDJSON,
    ),
    Operation(
        "POST", "/api/embed", "Vectors of texts", fields.OLLAMA_EMBED, ("model",),
        {"input": ["a cat", "a dog"]}, "embedding", ("model", "embeddings"),
    ),
    Operation(
        "POST", "/api/embeddings", "The vector of a text", fields.OLLAMA_EMBEDDINGS, ("model",),
        {"prompt": "a cat"}, "embedding", ("embedding",),
    ),
    _refused("POST", "/api/create"),
    _refused("POST", "/api/copy"),
    _refused("POST", "/api/push"),
    _refused("POST", "/api/pull"),
    _refused("DELETE", "/api/delete"),
    _refused("POST", "/api/blobs/{digest}"),
    Operation("GET", "/healthz", "Whether the process lives"),
    Operation("GET", "/readyz", "Whether it can serve"),
    Operation("GET", "/health", "As /readyz"),
    Operation("GET", "/metrics", "What Prometheus collects", media="text/plain"),
    Operation("GET", "/docs/api", "This document", answer=("openapi", "paths")),
    Operation("GET", "/docs/swagger", "This document, to be tried out", media="text/html"),
    Operation("GET", "/docs/swagger/{name}", "A file of that page", media="*/*"),
)  # fmt: skip
