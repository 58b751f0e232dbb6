"""A client of the gateway's HTTP API for `toolkit run`: models, chats, vectors, scores, images.

Every failure becomes a ServeError of one sentence. It does not keep the state of a conversation.
"""

import base64
import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

import httpx2

from toolkit.errors import ServeError

CONTEXT = "context_length_exceeded"
_CONNECT_S, _ANSWER_S = 5.0, 3600.0
"""A model that is loaded on demand may take minutes until its first token."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model, as the gateway describes it."""

    name: str
    kind: str
    capabilities: frozenset[str]
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of an answer: text, reasoning, deltas of tool calls, and at its end reason and usage."""

    text: str = ""
    reasoning: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None


class RefusedError(ServeError):
    """The gateway's own error; `code` is its code and `status` the HTTP status."""

    def __init__(self, message: str, status: int, code: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code


class Client:
    """One gateway at `url` (without `/v1`); close it by using it in a `with` block."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx2.Timeout(_ANSWER_S, connect=_CONNECT_S)
        # a proxy of the environment must not get what is sent to this machine
        self._http = httpx2.Client(
            base_url=self.url, headers=headers, timeout=timeout, trust_env=False
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def model(self, name: str) -> Model | None:
        """The model of that name or alias; None if it is not served."""
        try:
            return _model(self._get(f"/v1/models/{quote(name, safe='/:@')}"))
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def models(self) -> list[Model]:
        """All models that this caller may use."""
        return [_model(each) for each in self._get("/v1/models")["data"]]

    def chat(self, body: Mapping[str, Any]) -> Generator[Piece, None, None]:
        """Streams an answer. Closing the iterator cancels it in the engine."""
        body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        with (
            self._errors(),
            self._http.stream("POST", "/v1/chat/completions", json=body) as answer,
        ):
            if answer.status_code != 200:
                answer.read()
                raise _refusal(answer)
            for line in answer.iter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                yield _piece(_object(line[6:]))

    def embed(self, model: str, text: str) -> list[float]:
        """The vector of one text."""
        answer = self._post("/v1/embeddings", {"model": model, "input": text})
        return cast("list[float]", answer["data"][0]["embedding"])

    def score(self, model: str, query: str, documents: list[str]) -> list[tuple[float, str]]:
        """Scores with their documents, the best first."""
        body = {"model": model, "query": query, "documents": documents}
        results = self._post("/v1/rerank", body)["results"]
        return [(each["relevance_score"], documents[each["index"]]) for each in results]

    def draw(self, body: Mapping[str, Any]) -> list[bytes]:
        """Generates images; returns their files."""
        answer = self._post("/v1/images/generations", {**body, "response_format": "b64_json"})
        return [base64.b64decode(each["b64_json"]) for each in answer["data"]]

    def _get(self, path: str) -> dict[str, Any]:
        with self._errors():
            return _body(self._http.get(path))

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with self._errors():
            return _body(self._http.post(path, json=body))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException as error:
            raise ServeError(
                f"the gateway at {self.url} did not answer in time", hint="toolkit logs"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ServeError(
                f"the gateway at {self.url} cannot be reached: {reason}", hint="toolkit ps"
            ) from error


def _model(body: Mapping[str, Any]) -> Model:
    return Model(body["id"], body.get("kind", "llm"), frozenset(body.get("capabilities", ())), body)


def _body(answer: httpx2.Response) -> dict[str, Any]:
    if answer.status_code != 200:
        raise _refusal(answer)
    return _object(answer.text)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ServeError(
            f"the answer is not from a gateway: {text[:80]!r}", hint="check the address: --url"
        )
    if "error" in value:  # in a stream, after its first bytes
        raise _error(value["error"], 200)
    return value


def _refusal(answer: httpx2.Response) -> RefusedError:
    try:
        about = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        about = f"the gateway answered with status {answer.status_code}"
    return _error(about, answer.status_code)


def _error(about: object, status: int) -> RefusedError:
    if not isinstance(about, dict):
        return RefusedError(str(about), status)
    hint = None
    if status == 401:
        hint = "pass a key of the gateway with --api-key or TRITON_TOOLKIT_API_KEY"
    elif status in (429, 503):
        hint = "try again later"
    return RefusedError(str(about.get("message")), status, str(about.get("code") or ""), hint)


def _piece(chunk: Mapping[str, Any]) -> Piece:
    choices = chunk.get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    return Piece(
        text=delta.get("content") or "",
        reasoning=delta.get("reasoning_content") or delta.get("reasoning") or "",
        calls=delta.get("tool_calls") or [],
        finish_reason=choices[0].get("finish_reason"),
        usage=chunk.get("usage"),
    )
