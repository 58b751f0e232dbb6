"""Remembers the prompts that an upstream has seen lately, block by block. Pure.

Each block's hash includes all blocks before it, so that a hash stands for a whole prefix; the
hashes do not reveal the texts, and their number is bounded.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from frontend.domain.generation import Conversation, Generation, Passage
from frontend.domain.messages import Text

_BLOCK = 256
"""Characters, about 64 tokens: four blocks of vLLM's cache."""
_MAX_BLOCKS = 64
"""Of one prompt: what follows the first 16,000 characters decides little."""
_MAX_KNOWN = 16_384
_SESSION_SHARE = 0.75
"""Of the points for a whole prompt: a session's next prompt most often begins as its last one."""


def blocks_of(generation: Generation) -> tuple[int, ...]:
    """The hashes of a prompt's blocks, each of all that comes before its end."""
    text = "".join(_pieces(generation, _BLOCK * _MAX_BLOCKS))
    hashes: list[int] = []
    before = 0
    for start in range(0, min(len(text), _BLOCK * _MAX_BLOCKS), _BLOCK):
        before = hash((before, text[start : start + _BLOCK]))
        hashes.append(before)
    return tuple(hashes)


def _pieces(generation: Generation, most: int) -> Iterator[str]:
    size = 0
    for piece in _texts(generation):
        yield piece
        size += len(piece)
        if size >= most:
            return


def _texts(generation: Generation) -> Iterator[str]:
    prompt = generation.prompt
    if isinstance(prompt, Conversation):
        for message in prompt.messages:
            yield f"\0{message.role}\0"
            if isinstance(message.content, str):
                yield message.content
            else:
                yield from (part.text for part in message.content if isinstance(part, Text))
    elif isinstance(prompt, Passage):
        yield prompt.text
    else:
        yield " ".join(map(str, prompt.ids[: _BLOCK * _MAX_BLOCKS]))


class Prefixes:
    """The prefixes that one upstream has seen; the oldest ones are forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, None] = OrderedDict()
        self._sessions: OrderedDict[int, None] = OrderedDict()

    def share(self, blocks: Sequence[int]) -> float:
        """The part of a prompt, 0…1, that was seen before."""
        seen = 0
        for block in blocks:
            if block not in self._known:
                break
            seen += 1
        return seen / len(blocks) if blocks else 0.0

    def add(self, blocks: Sequence[int]) -> None:
        """Takes note of a prompt."""
        for block in blocks:
            _note(self._known, block)

    def session_share(self, session: str) -> float:
        """What a session that was here before counts, beside the part of a prompt."""
        return _SESSION_SHARE if session and hash(session) in self._sessions else 0.0

    def add_session(self, session: str) -> None:
        """Takes note of a session."""
        _note(self._sessions, hash(session))


def _note(known: OrderedDict[int, None], value: int) -> None:
    known[value] = None
    known.move_to_end(value)
    if len(known) > _MAX_KNOWN:
        known.popitem(last=False)
