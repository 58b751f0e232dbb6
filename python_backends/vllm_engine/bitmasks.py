"""Fetches bitmasks from grammar processes for vLLM's scheduler, in the engine's core process.

An engine step waits for all bitmasks at once, `WAIT_S` at most. If a grammar does not answer, vLLM
ends its request with an error, and the step continues.
"""

import select
import socket
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import xgrammar as xgr  # type: ignore[import-not-found]
from vllm.v1.structured_output.backend_types import (  # type: ignore[import-not-found]
    StructuredOutputBackend,
    StructuredOutputGrammar,
)

WAIT_S = 2.0
"""The processes end themselves much earlier (`grammar_mask_ms` of CPU time), but an overloaded
machine may delay them."""
_LARGEST = 1 << 20
_FULL = -1


class BitmaskBackend(StructuredOutputBackend):  # type: ignore[misc]
    """vLLM's backend; the text of a request's grammar is the path of its process's socket."""

    def compile_grammar(
        self, _request_type: Any, grammar_spec: str, stop_token_ids: set[int] | None = None
    ) -> "RemoteGrammar":
        # the spec is `root ::= "PATH"`: vLLM checks that it is a grammar before it gets here
        path = grammar_spec.partition('"')[2].rpartition('"')[0]
        grammar = RemoteGrammar(path, stop_token_ids)
        self.vocab_size = grammar.vocab_size
        return grammar

    def allocate_token_bitmask(self, max_num_seqs: int) -> Any:
        return xgr.allocate_token_bitmask(max_num_seqs, self.vocab_size)

    def destroy(self) -> None:
        """The processes are the stub's."""


class RemoteGrammar(StructuredOutputGrammar):  # type: ignore[misc]
    """One request's state in a grammar. The next request for a mask sends the accepted tokens."""

    def __init__(self, path: str, stop_token_ids: set[int] | None) -> None:
        self.failed = False
        self._ended = False
        self._accepted: list[int] = []
        self._mask: Any = None
        # SEQPACKET keeps messages apart: a mask needs no length before it and no second read
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # every call that waits for the process also holds up the engine's step
        self._socket.settimeout(WAIT_S)
        self._socket.connect(path)
        self._send(b"o", sorted(stop_token_ids or ()))
        answer = self._receive()
        if answer is None:
            raise RuntimeError("the grammar's process has ended")
        self.vocab_size, *stops = np.frombuffer(answer, dtype=np.int32).tolist()
        self._stops = frozenset(stops)

    # vLLM does not say when it is done with a grammar; the open connection keeps a session alive
    def __del__(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()

    def accept_tokens(self, _request_id: str, tokens: list[int]) -> bool:
        if self.failed:
            return False
        for token in tokens:
            # an engine step may bring tokens behind the end token, which vLLM drops
            if self._ended:
                break
            self._accepted.append(token)
            self._mask = None
            self._ended = token in self._stops
        return True

    def is_terminated(self) -> bool:
        return self._ended

    @property
    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self) -> bool:
        """Requests the next bitmask unless it is known or not needed; returns whether it did."""
        # a mask stays valid until a token is accepted, also when a request is preempted
        if self.failed or self._ended or self._mask is not None:
            return False
        accepted, self._accepted = self._accepted, []
        self._send(b"m", accepted)
        return not self.failed

    def take(self) -> None:
        """Receives the requested bitmask."""
        answer = self._receive()
        if answer:
            self._mask = np.frombuffer(answer, dtype=np.int32)
        else:
            self.fail()

    def fail(self) -> None:
        self.failed = True
        self._socket.close()

    def fill_bitmask(self, bitmask: Any, batch_index: int) -> None:
        if self._mask is None:
            wait_for_bitmasks([self])
        if self._mask is None:  # failed: the token that comes of this is thrown away
            bitmask[batch_index].fill_(_FULL)
            return
        # a copy: torch warns about read-only arrays, as those of received bytes are
        row = torch.from_numpy(self._mask.copy())
        bitmask[batch_index, : row.shape[0]].copy_(row)

    def validate_tokens(self, tokens: list[int]) -> list[int]:
        if self.failed or self._ended:
            return []
        # drafts come after the accepted tokens, which the process may not have seen
        self._flush()
        self._send(b"v", tokens)
        answer = self._receive()
        if answer is None:
            self.fail()
            return []
        return tokens[: int(np.frombuffer(answer, dtype=np.int32)[0])]

    def rollback(self, num_tokens: int) -> None:
        kept = max(0, len(self._accepted) - num_tokens)
        left = num_tokens - (len(self._accepted) - kept)
        # tokens that were not sent yet are forgotten here; only the others need a message
        self._accepted = self._accepted[:kept]
        self._mask, self._ended = None, False
        if left and not self.failed:
            self._send(b"r", [left])
            if self._receive() is None:
                self.fail()

    def reset(self) -> None:
        raise NotImplementedError("vLLM never starts a grammar again")

    def _flush(self) -> None:
        if self._accepted and self.ask():
            wait_for_bitmasks([self], asked=True)

    def _send(self, letter: bytes, tokens: Iterable[int]) -> None:
        try:
            self._socket.send(letter + np.fromiter(tokens, dtype=np.int32).tobytes())
        except OSError:
            self.fail()

    def _receive(self) -> bytes | None:
        """The content of a successful answer; None for any other."""
        try:
            answer = self._socket.recv(_LARGEST)
        except OSError:
            return None
        return answer[1:] if answer[:1] == b"\0" else None


def wait_for_bitmasks(grammars: Iterable[RemoteGrammar], *, asked: bool = False) -> None:
    """Fetches the next bitmasks of all grammars, computed in parallel."""
    waiting = {one.fileno: one for one in grammars if asked or one.ask()}
    poll = select.poll()
    for number in waiting:
        poll.register(number, select.POLLIN)
    deadline = time.monotonic() + WAIT_S
    while waiting and (left := deadline - time.monotonic()) > 0:
        for number, _ in poll.poll(left * 1000):
            poll.unregister(number)
            waiting.pop(number).take()
    for grammar in waiting.values():
        grammar.fail()
