"""Converts vLLM's outputs to the contract's events.

Pure. Reads and writes deltas: the joined events of an index equal the engine's whole output, also
if some were merged.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from python_backends.vllm_engine.alignment import LogprobAligner
from python_backends.vllm_engine.delta import End, Reader
from python_backends.vllm_engine.vocabulary import Vocabulary

_LOWEST_LOGPROB = -9999.0
"""JSON has no -inf; vLLM's own server sends this in its place."""

FAILED = "error"
"""vLLM's finish reason of what it could not continue."""

Event = dict[str, Any]


class Logprob(Protocol):
    """vllm.logprobs.Logprob."""

    logprob: float
    rank: int | None
    decoded_token: str | None


class Completion(Protocol):
    """The delta of one completion: vllm.outputs.CompletionOutput."""

    index: int
    text: str
    token_ids: Sequence[int]
    logprobs: Sequence[Mapping[int, Logprob]] | None
    finish_reason: str | None
    stop_reason: int | str | None


class Output(Protocol):
    """The changes since the last output: vllm.outputs.RequestOutput."""

    prompt_token_ids: Sequence[int] | None
    prompt_logprobs: Sequence[Mapping[int, Logprob] | None] | None
    num_cached_tokens: int | None
    outputs: Sequence[Completion]


class EventWriter:
    """Writes one request's events, counts its tokens and tracks which completions have ended."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        prompt_tokens: int,
        count: int,
        top: int,
        readers: Sequence[Reader] = (),
        sent_prompt: Sequence[int] | None = None,
        copies: int = 1,
    ) -> None:
        """`copies`: how many equal completions are sent for each, with the next numbers."""
        self._vocabulary = vocabulary
        self._readers = readers
        self._sent_prompt = sent_prompt
        self._usage = {"prompt_tokens": prompt_tokens, "cached_tokens": 0}
        self._completion_tokens = [0] * count
        self._open = set(range(count))
        self._top = top
        self._copies = copies
        self._aligners = [
            LogprobAligner(vocabulary.is_added, reads=bool(readers)) for _ in range(count)
        ]

    def write(self, output: Output) -> list[Event]:
        """One event per completion in the output; the prompt's logprobs go into the first."""
        self._usage["cached_tokens"] = output.num_cached_tokens or 0
        if output.prompt_token_ids is not None:  # with the tokens that images became
            self._usage["prompt_tokens"] = len(output.prompt_token_ids)
        written = [self._event(completion) for completion in output.outputs]
        # the first event only: a long prompt in each would cost more than the reply
        if self._sent_prompt is not None and written:
            written[0]["prompt_token_ids"], self._sent_prompt = list(self._sent_prompt), None
        if output.prompt_logprobs and written:
            ids = list(output.prompt_token_ids or ())
            written[0]["prompt_token_ids"] = ids
            written[0]["prompt_logprobs"] = [
                self._unscored(token_id) if choices is None else self._token(token_id, choices)
                for token_id, choices in zip(ids, output.prompt_logprobs, strict=False)
            ]
        return self._copied(written)

    def abort(self) -> list[Event]:
        """The last event of every completion that has not ended."""
        return self._copied([self._end(index, "abort") for index in sorted(self._open)])

    def _copied(self, events: list[Event]) -> list[Event]:
        if self._copies == 1:
            return events
        return [_copy(event, number) for event in events for number in range(self._copies)]

    def _event(self, completion: Completion) -> Event:
        index = completion.index
        self._completion_tokens[index] += len(completion.token_ids)
        if completion.finish_reason == FAILED:  # its tokens may be anything: they only count
            return self._end(index, FAILED)
        logprobs = completion.logprobs
        # after the count above: the usage in an event includes its own tokens
        event = self._end(index, completion.finish_reason) | {
            "text": completion.text,
            "token_ids": list(completion.token_ids),
            "stop_reason": completion.stop_reason,
        }
        if self._readers:
            self._read(event, completion, self._readers[index])
        if logprobs is not None:
            pairs = zip(completion.token_ids, logprobs, strict=False)
            event["logprobs"] = self._aligners[index].take(
                [self._token(token_id, choices) for token_id, choices in pairs],
                event["text"],
                apart="reasoning" in event or "tool_calls" in event,
                ended=completion.finish_reason,
                stopped=isinstance(completion.stop_reason, str),
            )
        return event

    def _read(self, event: Event, completion: Completion, reader: Reader) -> None:
        """Separates reasoning and tool calls from content."""
        end = _end_of(completion)
        piece = reader.read(completion.text, completion.token_ids, end=end)
        event["text"] = piece.text
        if piece.reasoning:
            event["reasoning"] = piece.reasoning
        if piece.tool_calls:
            event["tool_calls"] = piece.tool_calls
        if end is not End.NOT_YET:
            if reader.unread:
                event["unread"] = reader.unread
            event["finish_reason"] = reader.finish_reason(completion.finish_reason)
            event["usage"]["reasoning_tokens"] = reader.reasoning_tokens()

    def _end(self, index: int, reason: str | None) -> Event:
        if reason is not None:
            self._open.discard(index)
        return {
            "index": index,
            "text": "",
            "token_ids": [],
            "logprobs": None,
            "finish_reason": reason,
            "stop_reason": None,
            "usage": {**self._usage, "completion_tokens": self._completion_tokens[index]},
        }

    def _token(self, token_id: int, choices: Mapping[int, Logprob]) -> Event:
        ranked = sorted(
            (choice.rank, number) for number, choice in choices.items() if choice.rank is not None
        )
        # vLLM adds the chosen token to the top ones, whatever its rank is
        top = [number for rank, number in ranked if self._top < 0 or rank <= self._top]
        return self._choice(token_id, choices[token_id]) | {
            "top": [self._choice(number, choices[number]) for number in top]
        }

    def _unscored(self, token_id: int) -> Event:
        """The prompt's first token: nothing comes before it that could predict it."""
        spelled = self._vocabulary.bytes_of(token_id)
        text = bytes(spelled).decode(errors="replace")
        return {"token": text, "id": token_id, "bytes": spelled, "logprob": None, "top": None}

    def _choice(self, token_id: int, choice: Logprob) -> Event:
        return {
            "token": choice.decoded_token,
            "id": token_id,
            "bytes": self._vocabulary.bytes_of(token_id),
            "logprob": max(choice.logprob, _LOWEST_LOGPROB),
        }


def _copy(event: Event, number: int) -> Event:
    """The event for completion `number`: the prompt is sent once, and calls have their own ids."""
    if not number:
        return event
    copy = {name: value for name, value in event.items() if not name.startswith("prompt_")}
    calls = event.get("tool_calls") or ()
    named = [{**call, "id": f"{call['id']}-{number}"} if "id" in call else call for call in calls]
    return {**copy, "index": number, **({"tool_calls": named} if named else {})}


def _end_of(completion: Completion) -> End:
    if completion.finish_reason is None:
        return End.NOT_YET
    # a stop string cuts inside a call; a stop token, whose reason is a number, ends the format
    if completion.finish_reason == "stop" and not isinstance(completion.stop_reason, str):
        return End.NATURAL
    return End.CUT


def has_failed(output: Output) -> bool:
    """Whether the engine could not continue one of the completions."""
    return any(completion.finish_reason == FAILED for completion in output.outputs)
