"""The operations of OpenAI's, Anthropic's and Ollama's protocols."""

from typing import Any

from frontend.dialects.anthropic.bodies import CountBody, MessagesBody
from frontend.dialects.ollama.bodies import ChatBody as OllamaChatBody
from frontend.dialects.ollama.bodies import GenerateBody
from frontend.dialects.ollama.embed import EmbedBody, EmbeddingsBody
from frontend.dialects.ollama.models import NameBody
from frontend.dialects.openai.batches import BatchBody
from frontend.dialects.openai.chat import ChatBody
from frontend.dialects.openai.completions import CompletionBody
from frontend.dialects.openai.embeddings import EmbeddingBody
from frontend.dialects.openai.images import ImageBody
from frontend.dialects.openai.rerank import RerankBody, ScoreBody
from frontend.dialects.openai.response_body import ResponseBody
from frontend.dialects.openai.tokens import DetokenizeBody, TokenizeBody
from frontend.openapi.operations.operation import NDJSON, SSE, Operation

_HI = [{"role": "user", "content": "Say hello."}]
_CHAT: dict[str, Any] = {"messages": _HI, "max_tokens": 8}
_RANKED: dict[str, Any] = {"query": "pets", "documents": ["a cat", "a car"]}
_SCORED: dict[str, Any] = {"queries": "pets", "documents": ["a cat", "a car"]}


def _ranking(path: str, summary: str) -> Operation:
    answer = ("id", "results")
    return Operation("POST", path, summary, RerankBody, _RANKED, "rerank", answer)


def _scoring(path: str) -> Operation:
    answer = ("id", "data", "usage")
    return Operation("POST", path, "Score pairs of texts", ScoreBody, _SCORED, "rerank", answer)


def _refused(method: str, path: str) -> Operation:
    return Operation(method, path, "Refused: the operator manages the models", refuses=True)


PROTOCOLS: tuple[Operation, ...] = (
    Operation(
        "POST", "/v1/chat/completions", "Generate an answer to a conversation",
        ChatBody, _CHAT, "chat",
        ("id", "choices", "usage"), also=SSE,
    ),
    Operation(
        "POST", "/v1/completions", "Continue texts, or fill in the middle", CompletionBody,
        {"prompt": "Once upon", "max_tokens": 8}, "completion", ("id", "choices", "usage"),
        also=SSE,
    ),
    Operation(
        "POST", "/v1/responses", "Generate an answer, and store the conversation for the next turn",
        ResponseBody, {"input": "Say hello.", "max_output_tokens": 8}, "chat",
        ("id", "object", "status", "output"), also=SSE,
    ),
    Operation(
        "POST", "/v1/responses/input_tokens", "Count the tokens of a request", ResponseBody,
        {"input": "Say hello."}, "chat", ("object", "input_tokens"),
    ),
    Operation("GET", "/v1/responses/{id}", "Get a stored response", answer=("id", "output")),
    Operation("DELETE", "/v1/responses/{id}", "Delete a response", answer=("id", "deleted")),
    Operation(
        "GET", "/v1/responses/{id}/input_items", "List the input of a response", answer=("data",)
    ),
    Operation(
        "POST", "/v1/responses/{id}/cancel", "Refused: there are no background responses",
        refuses=True,
    ),
    Operation(
        "POST", "/v1/embeddings", "Embed texts or token ids", EmbeddingBody,
        {"input": ["a cat", "a dog"]}, "embedding", ("data", "model", "usage"),
    ),
    Operation(
        "POST", "/v1/images/generations", "Generate images", ImageBody,
        {"prompt": "a cat", "seed": 1}, "image", ("created", "data", "usage"), also=SSE,
    ),
    Operation("GET", "/v1/images/files/{name}", "Get an image by its link", media="image/*"),
    Operation(
        "POST", "/v1/images/edits", "Refused: images are generated from prompts only", refuses=True
    ),
    Operation(
        "POST", "/v1/images/variations", "Refused: images are generated from prompts only",
        refuses=True
    ),
    Operation("GET", "/v1/models", "List the models", answer=("object", "data")),
    Operation("GET", "/v1/models/{model}", "Get a model", answer=("id", "object")),
    _ranking("/v1/rerank", "Order documents by their relevance to a query"),
    _ranking("/rerank", "The same as /v1/rerank"),
    _ranking("/v2/rerank", "Cohere's version: the answer contains the documents only on request"),
    _scoring("/v1/score"),
    _scoring("/score"),
    Operation("POST", "/v1/files", "Upload a file, as multipart/form-data", answer=("id", "bytes")),
    Operation("GET", "/v1/files", "List the files", answer=("object", "data", "has_more")),
    Operation(
        "GET", "/v1/files/{id}", "Get the metadata of a file", answer=("id", "bytes", "purpose")
    ),
    Operation("DELETE", "/v1/files/{id}", "Delete a file", answer=("id", "deleted")),
    Operation(
        "GET", "/v1/files/{id}/content", "Get a file's content", media="application/octet-stream"
    ),
    Operation(
        "POST", "/v1/batches", "Create a batch: run the requests of a file within a day", BatchBody,
        answer=("id", "status", "request_counts"),
    ),
    Operation("GET", "/v1/batches", "List the batches", answer=("object", "data", "has_more")),
    Operation("GET", "/v1/batches/{id}", "Get a batch", answer=("id", "status")),
    Operation("POST", "/v1/batches/{id}/cancel", "Cancel a batch", answer=("id", "status")),
    Operation(
        "POST", "/tokenize", "Get the tokens of a text or a conversation", TokenizeBody,
        answer=("count", "max_model_len", "tokens"),
    ),
    Operation(
        "POST", "/detokenize", "Get the text of token ids", DetokenizeBody, answer=("prompt",)
    ),
    Operation("GET", "/version", "Get the version of the server", answer=("version",)),
    Operation(
        "POST", "/v1/messages", "Generate an answer to a conversation", MessagesBody, _CHAT, "chat",
        ("id", "type", "content", "usage"), also=SSE,
    ),
    Operation(
        "POST", "/v1/messages/count_tokens", "Count the tokens of a request", CountBody,
        {"messages": _HI}, "chat", ("input_tokens",),
    ),
    Operation(
        "GET", "/api/version", "Get the version of Ollama whose API is served", answer=("version",)
    ),
    Operation("GET", "/api/tags", "List the models", answer=("models",)),
    Operation("GET", "/api/ps", "List the loaded models", answer=("models",)),
    Operation(
        "POST", "/api/show", "Get a model", NameBody, {}, "chat", ("details", "capabilities")
    ),
    Operation(
        "POST", "/api/chat", "Generate an answer to a conversation", OllamaChatBody,
        {"messages": _HI, "stream": False, "options": {"num_predict": 8}}, "chat",
        ("model", "done"), also=NDJSON,
    ),
    Operation(
        "POST", "/api/generate", "Continue a text, or generate an image", GenerateBody,
        {"prompt": "Once upon", "stream": False, "options": {"num_predict": 8}}, "chat",
        ("model", "done"), also=NDJSON,
    ),
    Operation(
        "POST", "/api/embed", "Embed texts", EmbedBody, {"input": ["a cat", "a dog"]}, "embedding",
        ("model", "embeddings"),
    ),
    Operation(
        "POST", "/api/embeddings", "Embed a text", EmbeddingsBody, {"prompt": "a cat"},
        "embedding", ("embedding",),
    ),
    _refused("POST", "/api/create"),
    _refused("POST", "/api/copy"),
    _refused("POST", "/api/push"),
    _refused("POST", "/api/pull"),
    _refused("DELETE", "/api/delete"),
    _refused("POST", "/api/blobs/{digest}"),
)  # fmt: skip
