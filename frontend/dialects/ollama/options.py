"""Ollama's `options` as vLLM's SamplingParams, one by one.

Three kinds: what the engine does; what cannot change an answer here, and is only warned of; what
would change the answer and cannot be had, which is refused. Unknown ones are ignored, as Ollama
does, with a warning.
"""

from collections.abc import Callable
from typing import Any

from frontend.dialects.fields import Fields

MAX_TOKENS = 2**31 - 1
_OPERATORS = (
    *("numa", "num_batch", "num_gpu", "main_gpu", "low_vram", "f16_kv", "use_mmap", "use_mlock"),
    *("num_thread", "logits_all", "vocab_only", "draft_num_predict"),
)
_KEEP = 4
"""Ollama's default of `num_keep`."""
"""Placement and memory, which the operator decided when the model was loaded."""


class Options:
    """The options of one request; `warnings` tell what was left aside."""

    def __init__(self, fields: Fields | None) -> None:
        self.warnings: list[str] = []
        self.context: int | None = None
        self.keep = _KEEP
        self.sampling: dict[str, Any] = {} if fields is None else self._read(fields)

    def _read(self, fields: Fields) -> dict[str, Any]:
        found: dict[str, Any] = {
            "temperature": fields.number("temperature", 0),
            "top_p": fields.number("top_p", 0, 1),
            "min_p": fields.number("min_p", 0, 1),
            "presence_penalty": fields.number("presence_penalty", -2, 2),
            "frequency_penalty": fields.number("frequency_penalty", -2, 2),
            "repetition_penalty": fields.number("repeat_penalty", 0.01, 10),
            "seed": fields.integer("seed", -(2**63), 2**63 - 1),
            "stop": [text for text in fields.texts("stop", 64) or [] if text] or None,
        }
        if found["top_p"] == 0:
            found |= {"top_p": None, "top_k": 1}
        if (top_k := fields.integer("top_k", -1, MAX_TOKENS)) is not None:
            found["top_k"] = top_k or -1  # 0 turns it off
        if (most := fields.integer("num_predict", -2, MAX_TOKENS)) is not None and most > 0:
            found["max_tokens"] = most
        self._penalty_window(fields, found)
        self._impossible(fields)
        self.context = fields.integer("num_ctx", 1, MAX_TOKENS)
        if (keep := fields.integer("num_keep", -1, MAX_TOKENS)) is not None:
            self.keep = keep if keep >= 0 else MAX_TOKENS
        self._leave(fields)
        return {name: value for name, value in found.items() if value is not None}

    def _penalty_window(self, fields: Fields, found: dict[str, Any]) -> None:
        """The engine's penalty looks at all tokens: a shorter window matters only with one."""
        window = fields.integer("repeat_last_n", -1, MAX_TOKENS)
        newline = fields.boolean("penalize_newline")
        penalized = found["repetition_penalty"] not in (None, 1)
        if window == 0:
            found["repetition_penalty"] = None
        elif window not in (None, -1) and penalized:
            self.warnings.append("repeat_last_n: the whole context is penalized")
        if newline is False and penalized:
            self.warnings.append("penalize_newline: newlines are penalized, too")

    def _impossible(self, fields: Fields) -> None:
        """Other ways of sampling, unless they are turned off."""
        checks: tuple[tuple[str, Callable[[float], bool]], ...] = (
            ("mirostat", lambda value: value == 0),
            ("tfs_z", lambda value: value in (0, 1)),
        )
        for name, is_off in checks:
            value = fields.number(name)
            if value is not None and not is_off(value):
                raise fields.refuse(name, "is a way of sampling that this server does not have")
        if fields.number("typical_p") not in (None, 0, 1):  # Ollama's own engine leaves it, too
            self.warnings.append("typical_p: is left, as Ollama's own engine leaves it")
        fields.number("mirostat_tau"), fields.number("mirostat_eta")
        if fields.boolean("embedding_only"):
            raise fields.refuse("embedding_only", "is not supported: use an embedding model")

    def _leave(self, fields: Fields) -> None:
        for name in _OPERATORS:
            if fields.take(name) is not None:
                self.warnings.append(f"{name}: the operator decides this")
        for name in fields.leave():
            self.warnings.append(f"{name[:64]}: unknown")

    def warn_of_context(self, served: int | None) -> None:
        """For embeddings, which are of as much of a text as the model reads."""
        if served is not None and self.context not in (None, served):
            self.warnings.append(f"num_ctx: the model reads {served} tokens of each text")

    def settle_context(self, served: int | None) -> int | None:
        """The tokens of prompt and reply; None where nobody knows. Warns of a context that is
        smaller than what was asked for, as Ollama clamps."""
        if served is not None and self.context is not None and self.context > served:
            self.warnings.append(f"num_ctx: the model is served with {served} tokens")
        known = [one for one in (served, self.context) if one is not None]
        return min(known) if known else None
