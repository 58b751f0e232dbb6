"""Prompts and answers as the GenAI conventions write them in a span, cut to a bound.

Only for requests of groups whose audit policy keeps their text. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from frontend.domain.generation import Conversation, Generation, Passage
from frontend.domain.messages import Message, Text
from frontend.errors import clip

MAX_TEXT = 32_768
"""Characters of one attribute: a prompt may have megabytes, and a batch has 512 spans."""


@dataclass(slots=True)
class _Budget:
    left: int = MAX_TEXT

    def take(self, text: str) -> str:
        kept = clip(text, self.left) if self.left > 0 else ""
        self.left -= len(kept)
        return kept


def input_messages(generation: Generation) -> str | None:
    """JSON of the prompt; None for one that is not text."""
    prompt, budget = generation.prompt, _Budget()
    if isinstance(prompt, Passage):
        messages = [Message("user", prompt.text)]
    elif isinstance(prompt, Conversation):
        messages = [*prompt.messages]
    else:
        return None
    # the newest ones first, so that they are what is kept of a long conversation
    shown = [_message(one, budget) for one in reversed(messages) if budget.left > 0]
    return orjson.dumps(shown[::-1]).decode()


def output_messages(texts: Mapping[int, list[str]], reasons: Mapping[int, str]) -> str:
    """JSON of the completions by their indices."""
    budget = _Budget()
    return orjson.dumps(
        [
            {
                "role": "assistant",
                "parts": [{"type": "text", "content": budget.take("".join(pieces))}],
                "finish_reason": reasons.get(index, "error"),
            }
            for index, pieces in sorted(texts.items())
        ]
    ).decode()


def _message(message: Message, budget: _Budget) -> dict[str, Any]:
    content = message.content
    pieces = (Text(content),) if isinstance(content, str) else content
    parts: list[dict[str, Any]] = []
    for piece in pieces:
        if not isinstance(piece, Text):
            parts.append({"type": "blob", "modality": "image"})
        elif message.answers is not None:
            text = budget.take(piece.text)
            parts.append({"type": "tool_call_response", "id": message.answers, "response": text})
        else:
            parts.append({"type": "text", "content": budget.take(piece.text)})
    for call in message.calls:
        arguments = budget.take(call.arguments)
        made = {"type": "tool_call", "id": call.id, "name": budget.take(call.name)}
        parts.append({**made, "arguments": arguments})
    return {"role": message.role, "parts": parts}
