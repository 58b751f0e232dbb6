"""What NVIDIA's backends answer → canonical events. Pure; one request's state.

Counts are the model's own where it has them; else each piece of a stream is a token. A model that
does not say why it ended has ended by `length` if it wrote all tokens that it was allowed.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from tritonclient.grpc import service_pb2

from frontend.domain.events import Event
from frontend.errors import BackendFailed
from frontend.upstreams.triton.plain.configs import Family, Plain
from frontend.upstreams.triton.tensors import unpack_bytes

_REASONS = {"stop": "stop", "length": "length", "end_id": "stop", "stop_words": "stop"}
_UNFINISHED = frozenset({"", "None", "not_finished"})
_BROKEN = "\ufffd"
_FORMATS = {"UINT32": "I", "INT32": "i", "UINT64": "Q", "INT64": "q"}
_UNREADABLE = "the model's answer cannot be read"


@dataclass(slots=True)
class Reading:
    """One answer as it arrives. `stops`: texts that end it, which it must not contain; `most`: the
    tokens that it may have; `prompt_tokens`: as counted before it began; `count`: for an answer
    that comes whole from a model that does not count."""

    plain: Plain
    stops: Sequence[str]
    most: int
    prompt_tokens: int
    count: Callable[[str], int]
    ended: bool = False
    estimated: bool = False
    """The prompt's tokens were not counted by the server or its tokenizer."""
    _whole: str = ""
    _sent: int = 0
    _tokens: int = 0
    _answers: int = field(default=0)

    def read(self, response: service_pb2.ModelInferResponse) -> Event | None:
        """The event of one response; None for one without text."""
        outputs = _outputs(response)
        if (texts := outputs.get("text_output")) is None:
            return None
        try:
            return self._read(outputs, texts)
        except (ValueError, KeyError, TypeError, IndexError, struct.error):
            raise BackendFailed(_UNREADABLE) from None

    def _read(self, outputs: dict[str, tuple[str, bytes]], texts: tuple[str, bytes]) -> Event:
        self._answers += 1
        piece = "".join(one.decode(errors="replace") for one in unpack_bytes(texts[1])[:1])
        self._append(piece)
        if (counted := _number(outputs.get("num_input_tokens"))) is not None:
            self.prompt_tokens, self.estimated = counted, False
        written = _number(outputs.get("num_output_tokens"))
        self._tokens += (
            (1 if self.plain.streams else self.count(piece)) if written is None else written
        )
        reason, stop_reason = self._reason(outputs), _text(outputs.get("stop_reason"))
        if (found := self._stop()) is not None:
            reason, stop_reason = "stop", found
        event = self._event(reason, None if stop_reason in _UNFINISHED else stop_reason)
        if "logprobs" in outputs:
            event.logprobs = _logprobs(_text(outputs["logprobs"]))
        return event

    def _append(self, piece: str) -> None:
        if self.plain.cumulative and piece.startswith(self._whole[: self._sent]):
            self._whole = piece
        else:
            self._whole += piece

    def _stop(self) -> str | None:
        """The stop text that the answer contains; the answer then ends before it."""
        if self.plain.family is Family.VLLM:
            return None  # vLLM leaves them out itself
        places = [(at, one) for one in self.stops if (at := self._whole.find(one)) >= 0]
        if not places:
            return None
        at, found = min(places)
        self._whole = self._whole[:at]
        return found

    def _event(self, reason: str | None, stop_reason: str | None) -> Event:
        end = len(self._whole)
        if reason is None:
            end -= _held(self._whole, () if self.plain.family is Family.VLLM else self.stops)
        delta, self._sent = self._whole[self._sent : end], max(end, self._sent)
        self.ended = reason is not None
        event = Event(0, delta, [], reason, stop_reason, self.prompt_tokens, 0, self._tokens)
        event.estimated = self.estimated
        return event

    def _reason(self, outputs: dict[str, tuple[str, bytes]]) -> str | None:
        said = _text(outputs.get("finish_reason"))
        if said in _UNFINISHED:
            return None
        return _REASONS.get(said, "abort")

    def finish(self) -> Event | None:
        """The last event of a model that did not say that it ended; None if it answered nothing."""
        if self.ended or not self._answers:
            return None
        return self._event("length" if self._tokens >= self.most else "stop", None)


def _held(text: str, stops: Sequence[str]) -> int:
    """Characters at the end that may be the beginning of a stop text, or half a character."""
    held = len(text) - len(text.rstrip(_BROKEN))
    for stop in stops:
        sizes = range(min(len(stop) - 1, len(text)), held, -1)
        held = max(held, next((n for n in sizes if text.endswith(stop[:n])), 0))
    return held


def _outputs(response: service_pb2.ModelInferResponse) -> dict[str, tuple[str, bytes]]:
    pairs = zip(response.outputs, response.raw_output_contents, strict=False)
    return {one.name: (one.datatype, bytes(raw)) for one, raw in pairs}


def _number(tensor: tuple[str, bytes] | None) -> int | None:
    if tensor is None or not tensor[1]:
        return None
    kind = _FORMATS[tensor[0]]
    return int(struct.unpack_from(f"<{kind}", tensor[1])[0])


def _text(tensor: tuple[str, bytes] | None) -> str:
    return "" if tensor is None else "".join(o.decode() for o in unpack_bytes(tensor[1])[:1])


def _logprobs(text: str) -> list[dict[str, Any]] | None:
    """vLLM's `logprobs`: for each token the chosen one first, then the likeliest others."""
    positions = orjson.loads(text) if text else None
    if positions is None:
        return None
    read = []
    for position in positions:
        tokens = [(_token(number, one), one) for number, one in position.items()]
        (chosen, first), *_ = tokens
        others = [made for made, one in tokens if one is not first or first["rank"] < len(tokens)]
        read.append({**chosen, "top": others})
    return read


def _token(number: str, one: dict[str, Any]) -> dict[str, Any]:
    text = one["decoded_token"] or ""
    return {
        "token": text, "id": int(number), "bytes": [*text.encode()], "logprob": one["logprob"],
    }  # fmt: skip
