"""Converts prompts to a CLIP text encoder's input: `length` ids, padded as its tokenizer pads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from python_backends.errors import ContextOverflow
from python_backends.splitting import check_bytes
from python_backends.triton import Array


@dataclass(frozen=True, slots=True)
class PromptTokenizer:
    """`encode` gives ids with special tokens; `pad_id` fills up."""

    encode: Callable[[str], list[int]]
    pad_id: int
    length: int
    max_bytes: int = 0

    @classmethod
    def load(cls, folder: Path, length: int, max_bytes: int = 0) -> "PromptTokenizer":
        """From a Hugging Face tokenizer folder; never from the network."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        pad_id = tokenizer.pad_token_id
        # Stable Diffusion 1 was trained with the end token as padding
        pad_id = tokenizer.eos_token_id if pad_id is None else pad_id
        return cls(lambda text: list(tokenizer(text)["input_ids"]), pad_id or 0, length, max_bytes)

    def pair(self, negative: str, positive: str) -> Array:
        """INT64 [2, length], the negative prompt first. Raises InvalidInput for a long prompt."""
        rows = [self._row(negative, "negative_prompt"), self._row(positive, "prompt")]
        return np.array(rows, dtype=np.int64)

    def count(self, *prompts: str) -> Array:
        """INT32 [1]: the number of tokens of all prompts, special tokens included."""
        return np.array([sum(len(self.encode(prompt)) for prompt in prompts if prompt)], np.int32)

    def _row(self, prompt: str, param: str) -> list[int]:
        check_bytes(prompt, self.max_bytes, param, self.length)
        ids = self.encode(prompt)
        if len(ids) > self.length:
            raise ContextOverflow(
                f"'{param}' has {len(ids)} tokens, more than the maximum of {self.length};"
                " shorten it",
                param=param,
                limit=self.length,
                prompt_tokens=len(ids),
            )
        return ids + [self.pad_id] * (self.length - len(ids))
