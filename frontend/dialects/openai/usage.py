"""Renders usage in OpenAI's shape, of a whole answer or of a stream so far."""

from typing import Any

import orjson

from frontend.dialects.openai.streaming import StreamOptions
from frontend.domain.events import Event
from frontend.domain.usage import Usage, UsageCount


def render_usage(usage: Usage) -> dict[str, Any]:
    """Token counts of a generation."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class ChunkUsage:
    """The usage in each chunk of a stream, but the last."""

    def __init__(self, options: StreamOptions) -> None:
        self._count = UsageCount() if options.continuous_usage else None
        self.field = b',"usage":null' if options.usage else b""
        """The field, behind others."""

    def see(self, event: Event, prompt: int = 0) -> None:
        """Counts an event of prompt number `prompt`."""
        if self._count is not None:
            self._count.see(prompt, event)
            # once per event, and not once per chunk that it makes
            self.field = b',"usage":' + orjson.dumps(render_usage(self._count.total))
