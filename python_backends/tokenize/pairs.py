"""One model's tokenizer for pairs of a query and a document, as cross-encoders read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_backends.errors import ContextOverflow
from python_backends.splitting import batches, beginning, check_bytes, head
from python_backends.tokenize.padding import Row, pad
from python_backends.tokenize.texts import load_tokenizer
from python_backends.triton import Array, Arrays, decode


@dataclass(frozen=True, slots=True)
class PairTokenizer:
    """Tokenizes pairs without padding. Only a document is truncated, never its query."""

    tokenizer: Any
    context_length: int
    segments: bool
    multiple: int = 1
    max_bytes: int = 0

    @classmethod
    def load(
        cls, folder: Path, context_length: int, segments: bool, multiple: int, max_bytes: int = 0
    ) -> "PairTokenizer":
        """From a folder with `tokenizer.json`; `segments`: the graph takes `token_type_ids`."""
        return cls(load_tokenizer(folder), context_length, segments, multiple, max_bytes)

    def read(self, arrays: Arrays) -> dict[str, Array]:
        """`query`, `document` STRING [B, 1], `truncate` BOOL [B, 1] -> ids, mask and perhaps
        segments INT64 [B, L], `num_tokens`.

        Raises InvalidInput for a pair beyond the context length that may not be cut, and for a
        query that leaves its document no room.
        """
        queries = [decode(value, "query") for value in arrays["query"].reshape(-1)]
        documents = [decode(value, "document") for value in arrays["document"].reshape(-1)]
        cut = arrays["truncate"].reshape(-1) if "truncate" in arrays else [False] * len(queries)
        for number, may_cut in enumerate(cut):
            if may_cut:
                documents[number] = beginning(documents[number], self.context_length)
            else:
                check_bytes(documents[number], self.max_bytes, "documents", self.context_length)
        # all pairs of a request usually share one query: it is measured once
        heads = {query: self._head(query, "query") for query in set(queries)}
        pairs = [
            (heads[query], self._head(document))
            for query, document in zip(queries, documents, strict=True)
        ]
        rows: list[Row] = []
        for part in batches(len(query) + len(document) for query, document in pairs):
            for encoding in self.tokenizer.encode_batch(pairs[part]):
                rows.append(self._fit(len(rows), encoding, bool(cut[len(rows)])))
        return pad(rows, self.multiple, most=self.context_length, segments=self.segments)

    def count(self, query: str, document: str) -> int:
        """The number of tokens of a pair of any length, special tokens included."""
        return len(self.tokenizer.encode(query, document).ids)

    def _head(self, text: str, param: str | None = None) -> str:
        """What of a text can have an effect; one with a `param` may not be cut."""
        if param:
            check_bytes(text, self.max_bytes, param, self.context_length)
        return head(self._plain, text, self.context_length)

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _fit(self, number: int, encoding: Any, may_cut: bool) -> Row:
        ids: Sequence[int] = encoding.ids
        types: Sequence[int] = encoding.type_ids
        if len(ids) <= self.context_length:
            return Row(ids, types)
        if not may_cut:
            raise ContextOverflow(
                f"query and document {number} have {len(ids)} tokens, more than the model's maximum"
                f" of {self.context_length}; shorten them or request truncation",
                param="documents",
                limit=self.context_length,
                prompt_tokens=len(ids),
            )
        inside = [place for place, part in enumerate(encoding.sequence_ids) if part == 1]
        first, end = (inside[0], inside[-1] + 1) if inside else (len(ids), len(ids))
        keep = self.context_length - (len(ids) - end)  # what follows the document stays
        if keep <= first:
            raise ContextOverflow(
                "the query leaves no room for a document: both together can have at most"
                f" {self.context_length} tokens; shorten the query",
                param="query",
                limit=self.context_length,
                prompt_tokens=len(ids),
            )
        return Row([*ids[:keep], *ids[end:]], [*types[:keep], *types[end:]])
