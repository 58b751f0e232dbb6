"""The chunks of OpenAI's API → canonical events. Pure.

The usage comes after the last text, so the last event of each completion is held back until then;
until then each chunk counts as a token.
"""

from dataclasses import dataclass, field
from typing import Any

from frontend.domain.events import Event


@dataclass(slots=True)
class Reading:
    """One answer as it arrives."""

    _held: dict[int, Event] = field(default_factory=dict)
    _counts: dict[int, int] = field(default_factory=dict)
    _prompt: int = 0
    _cached: int = 0
    _reasoning: int = 0

    def read(self, chunk: dict[str, Any]) -> list[Event]:
        """The events of one chunk. Raises KeyError, TypeError or ValueError for one that is not
        valid."""
        usage = chunk.get("usage")
        if usage:
            self._see(usage)
        events = []
        for choice in chunk.get("choices") or ():
            event = self._event(choice)
            if event.finish_reason is None:
                events.append(event)
            else:
                self._held[event.index] = event
        return events

    def finish(self) -> list[Event]:
        """The last event of every completion, with the counts."""
        return [self._counted(event) for _, event in sorted(self._held.items())]

    def _see(self, usage: dict[str, Any]) -> None:
        self._prompt = int(usage.get("prompt_tokens") or 0)
        details = usage.get("prompt_tokens_details") or {}
        self._cached = int(details.get("cached_tokens") or 0)
        details = usage.get("completion_tokens_details") or {}
        self._reasoning = int(details.get("reasoning_tokens") or 0)
        total = int(usage.get("completion_tokens") or 0)
        # the server gives one sum for all completions: the rest goes to the first of them
        first = min(self._counts, default=0)
        others = sum(count for index, count in self._counts.items() if index != first)
        self._counts[first] = max(total - others, 0)

    def _counted(self, event: Event) -> Event:
        first = min(self._counts, default=0)
        event.prompt_tokens, event.cached_tokens = self._prompt, self._cached
        event.completion_tokens = self._counts.get(event.index, 0)
        event.reasoning_tokens = self._reasoning if event.index == first else 0
        return event

    def _event(self, choice: dict[str, Any]) -> Event:
        index, delta = int(choice.get("index") or 0), choice.get("delta") or {}
        text = delta.get("content") or choice.get("text") or ""
        reasoning = delta.get("reasoning_content") or delta.get("reasoning") or None
        calls = [_call(call) for call in delta.get("tool_calls") or ()]
        if text or reasoning or calls:
            self._counts[index] = self._counts.get(index, 0) + 1
        return Event(
            index=index,
            text=text,
            token_ids=[],
            finish_reason=choice.get("finish_reason"),
            stop_reason=choice.get("stop_reason"),
            prompt_tokens=self._prompt,
            cached_tokens=self._cached,
            completion_tokens=self._counts.get(index, 0),
            logprobs=_logprobs(choice.get("logprobs")),
            reasoning=reasoning,
            tool_calls=calls or None,
        )


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    return {
        "index": int(call.get("index") or 0),
        "id": call.get("id") or "",
        "name": function.get("name") or "",
        "arguments": function.get("arguments") or "",
    }


def _logprobs(logprobs: dict[str, Any] | None) -> list[dict[str, Any]] | None:
    if not logprobs:
        return None
    if "content" in logprobs:  # of a chat
        return [
            {**_token(one), "top": [_token(other) for other in one.get("top_logprobs") or ()]}
            for one in logprobs["content"] or ()
        ]
    tops = logprobs.get("top_logprobs") or []
    return [
        {
            **_token({"token": token, "logprob": logprobs["token_logprobs"][number]}),
            "top": [
                _token({"token": other, "logprob": value})
                for other, value in ((tops[number] if number < len(tops) else None) or {}).items()
            ],
        }
        for number, token in enumerate(logprobs.get("tokens") or ())
    ]


def _token(one: dict[str, Any]) -> dict[str, Any]:
    text = str(one["token"])
    raw = one.get("bytes")
    return {
        "token": text,
        "id": 0,
        "bytes": list(text.encode()) if raw is None else raw,
        "logprob": one["logprob"],
    }
