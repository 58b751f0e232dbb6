"""Truncates a prompt that exceeds the context, if the request asks for it, as Ollama does.

The oldest messages of a conversation are removed, except system messages and the last one; a tool
result is kept only with its call. If that is not enough, and in a text, tokens after the first
`keep` are removed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from python_backends.errors import ContextOverflow, InvalidInput

Message = Mapping[str, Any]
Ids = list[int]

_CHARACTERS = 32
"""Of a token at most, on average: a longer text's middle is never looked at."""


@dataclass(frozen=True, slots=True)
class Truncation:
    """At most `most` tokens of a prompt are kept, the first `keep` of them from its beginning."""

    most: int
    keep: int

    @classmethod
    def read(cls, value: Any, context_length: int) -> "Truncation | None":
        """Reads `{"reply": tokens, "keep": tokens}`. Raises InvalidInput for anything else."""
        if value is None:
            return None
        numbers = [value.get(name) for name in ("reply", "keep")] if _is_table(value) else []
        if not numbers or not all(type(one) is int and one >= 0 for one in numbers):
            raise InvalidInput(
                "'truncate' must contain 'reply' and 'keep', both numbers of tokens",
                param="truncate",
            )
        # at least one token stays free for the reply, as the length check demands
        most = max(1, context_length - max(1, numbers[0]))
        return cls(most, min(numbers[1], most - 1))

    def cut(self, ids: Ids) -> Ids:
        """Removes ids from the middle, so that `most` are left."""
        if len(ids) <= self.most:
            return ids
        return ids[: self.keep] + ids[len(ids) - (self.most - self.keep) :]

    def cut_text(self, text: str) -> str:
        """Removes the middle of a long text; the result may still be too long."""
        head, tail = self.keep * _CHARACTERS, self.most * _CHARACTERS
        return text if len(text) <= head + tail else text[:head] + text[len(text) - tail :]


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) <= {"reply", "keep"}


def within(
    ids_of: Callable[[Sequence[Message]], Ids], messages: Sequence[Message], most: int
) -> Ids | None:
    """The ids of messages; None if there are more than `most`."""
    try:
        ids = ids_of(messages)
    except ContextOverflow:  # found before all of them were counted
        return None
    return ids if len(ids) <= most else None


def shorten(
    messages: Sequence[Message], fit: Callable[[Sequence[Message]], Ids | None]
) -> Ids | None:
    """The ids of as many of the newest messages as fit; None if the last turn does not fit.

    `fit` returns None for too many messages. It raises InvalidInput for messages that the
    model's template does not accept, for example when a conversation begins with an answer.
    """
    points = _points(messages)
    best, low, high = None, 0, len(points) - 1
    # a search by halves: each try renders and tokenizes what is left of the conversation
    while low <= high:
        middle = (low + high) // 2
        ids = _fit_from(messages, points[middle], fit)
        if ids is None:
            low = middle + 1
        else:
            best, high = ids, middle - 1
    return best


def _fit_from(
    messages: Sequence[Message], point: int, fit: Callable[[Sequence[Message]], Ids | None]
) -> Ids | None:
    """With the messages from `point` on, or from the next user's: some templates want to begin
    with one."""
    try:
        return fit(rest_from(messages, point))
    except InvalidInput:
        users = [n for n in range(point + 1, len(messages)) if messages[n]["role"] == "user"]
        return fit(rest_from(messages, users[0])) if users else None


def rest_from(messages: Sequence[Message], point: int) -> list[Message]:
    """The messages from `point` on, after the system's before it."""
    kept = [message for message in messages[:point] if message["role"] == "system"]
    return [*kept, *messages[point:]]


def last_turns(messages: Sequence[Message], truncation: Truncation) -> Iterator[list[Message]]:
    """The messages that are always kept, except the middles of long texts: the last message, with
    the call that it answers; and, for a template that must begin with a user, all from the user's
    message on.
    """
    users = [number for number, message in enumerate(messages) if message["role"] == "user"]
    # the two places are often the same one
    for point in dict.fromkeys([_points(messages)[-1], *users[-1:]]):
        yield [_cut(message, truncation) for message in rest_from(messages, point)]


def _cut(message: Message, truncation: Truncation) -> Message:
    content = message.get("content")
    if not isinstance(content, str):
        return message
    return {**message, "content": truncation.cut_text(content)}


def _points(messages: Sequence[Message]) -> list[int]:
    """Where a conversation may begin: with no result whose call is gone, and before any image,
    since the images that travel beside the prompt are all of them."""
    points = []
    for number, message in enumerate(messages):
        if message["role"] not in ("system", "tool", "function"):
            points.append(number)
        if has_images(message):
            break
    return points or [len(messages) - 1]


def has_images(message: Message) -> bool:
    """Whether a message contains images."""
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") == "image" for part in content
    )
