"""Streams the answer to one question to the screen, and measures it."""

import time
from contextlib import closing
from dataclasses import dataclass

from toolkit.chat.client import Client
from toolkit.chat.conversation import Answer, Conversation
from toolkit.chat.screen import Screen


@dataclass(slots=True)
class Rates:
    """Seconds until the first token and in all, and tokens as the engine counted them."""

    started: float
    first: float = 0.0
    ended: float = 0.0
    prompt: int = 0
    answer: int = 0

    @property
    def total_s(self) -> float:
        return self.ended - self.started

    @property
    def first_s(self) -> float:
        return (self.first or self.ended) - self.started

    @property
    def per_second(self) -> float | None:
        """Tokens per second after the first; None for answers too short to say."""
        took = self.ended - self.first
        return (self.answer - 1) / took if self.answer > 1 and self.first and took > 0 else None

    def lines(self) -> list[str]:
        """The rates as lines of text."""
        rate = f"{self.per_second:.1f} tokens/s" if self.per_second else "too short to measure"
        return [
            f"first token:  {self.first_s:.2f} s for {self.prompt} tokens of prompt",
            f"generation:   {rate}, {self.answer} tokens",
            f"total:        {self.total_s:.2f} s",
        ]

    def as_json(self) -> dict[str, object]:
        """The rates as a JSON object."""
        return {
            "first_token_s": round(self.first_s, 4),
            "total_s": round(self.total_s, 4),
            "tokens_per_second": round(self.per_second, 2) if self.per_second else None,
        }


def answer_question(
    client: Client, talk: Conversation, screen: Screen | None
) -> tuple[Answer, Rates]:
    """The answer to the last message, which becomes part of the conversation.

    An interruption keeps the text so far. Any error, and an interruption before the first word,
    remove the question, so that the next one can be asked. Raises ServeError if the service refuses
    or fails.
    """
    answer, rates = Answer(), Rates(time.monotonic())
    try:
        with closing(client.chat(talk.body())) as pieces:
            for piece in pieces:
                if not rates.first and (piece.text or piece.reasoning or piece.calls):
                    rates.first = time.monotonic()
                answer.add(piece)
                if screen is not None:
                    screen.piece(piece)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and answer.text:
            talk.messages.append(Answer(text=answer.text).message())
        else:
            _take_back(talk)
        if screen is not None:
            screen.end()
        raise
    rates.ended = time.monotonic()
    rates.prompt = answer.usage.get("prompt_tokens", 0)
    rates.answer = answer.usage.get("completion_tokens", 0)
    talk.messages.append(answer.message())
    if screen is not None:
        screen.end()
        for call in answer.calls:
            screen.call(call)
        if answer.finish_reason == "length":
            screen.remark("the answer was cut at its maximum length")
    return answer, rates


def _take_back(talk: Conversation) -> None:
    """Removes the last question with the calls and results that follow it."""
    while talk.messages and talk.messages.pop()["role"] != "user":
        pass
