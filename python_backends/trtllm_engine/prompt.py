"""Converts token ids to text for TensorRT-LLM's model, without the tokens at the beginning, which
its tokenizer adds again.
"""

from pathlib import Path
from typing import Any

from python_backends.errors import InvalidInput


class Prompts:
    """One model's tokenizer."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._start: list[int] = list(self._tokenizer("")["input_ids"])

    def text(self, ids: list[int]) -> str:
        """The text that has these tokens. Raises InvalidInput if there is no such text."""
        own = ids[len(self._start) :] if ids[: len(self._start)] == self._start else ids
        text = str(self._tokenizer.decode(own, skip_special_tokens=False))
        # NVIDIA's model tokenizes the text again: other ids would be another prompt
        if list(self._tokenizer(text)["input_ids"]) not in (ids, self._start + ids):
            raise InvalidInput(
                "TensorRT-LLM takes a prompt as text, and these token ids are not those of a text",
                param="prompt",
            )
        return text
