"""The process of one grammar: compiles it and serves bitmasks of the allowed tokens.

Native code cannot be interrupted, and a compile or a bitmask may take forever. So the kernel kills
the process when it uses too much CPU time or memory, and its clients see their connections close.
The owner stays connected as long as the grammar is in use; each request has its own connection.
"""

import json
import os
import resource
import selectors
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import xgrammar as xgr  # type: ignore[import-not-found]

from python_backends.vllm_engine.grammar_compiler import (
    Clock,
    Limits,
    TooSlow,
    Vocabulary,
    compile_grammar,
    try_out,
)

_LENGTH_BYTES = 4
_USUAL_S = 0.5
"""A compile that takes longer than this gets the lowest priority."""
REJECTED, SLOW, STUCK, OK = b"\x01", b"\x02", b"\x03", b"\x00"


def serve(owner: socket.socket, folder: str, vocabulary: Vocabulary, limits: Limits) -> None:
    """Compiles the owner's grammar, reports the result, and serves bitmasks until the owner
    disconnects."""
    # before the first byte of the client's text is read
    _bound_memory(int(limits["grammar_memory_mb"]))
    asked = json.loads(receive(owner) or b"{}")
    if not asked:
        return
    try:
        compiled = _beside(lambda: _make(vocabulary, asked, limits))
    except TooSlow:
        send(owner, b'{"slow": true}')
        return
    # xgrammar's bindings raise any of these for a grammar that they do not accept
    except (RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        send(owner, json.dumps({"refused": _sentence(error)}).encode())
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        path = f"{folder}/{os.getpid()}"
        listener.bind(path)
        listener.listen(64)
        send(owner, json.dumps({"path": path}).encode())
        try:
            _Sessions(compiled, limits, owner).run(listener)
        finally:
            Path(path).unlink()


def _make(vocabulary: Vocabulary, asked: Mapping[str, str], limits: Limits) -> Any:
    signal.setitimer(signal.ITIMER_PROF, float(limits["grammar_compile_s"]))
    compiled = compile_grammar(vocabulary, asked["kind"], asked["text"], limits)
    # `try_out` sets the timer for each call of its own
    signal.setitimer(signal.ITIMER_PROF, 0)
    try_out(compiled, limits)
    return compiled


def _beside(work: Callable[[], Any]) -> Any:
    """Runs in a thread with low priority, lower still after some time: only its own request waits
    for it.

    On Linux each thread has its own niceness, and a process cannot lower it again, so bitmasks are
    computed in other threads, with normal priority.
    """
    thread: list[int] = []

    def run() -> Any:
        thread.append(threading.get_native_id())
        os.setpriority(os.PRIO_PROCESS, thread[0], 5)
        return work()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run)
        if not wait([future], _USUAL_S).done:
            os.setpriority(os.PRIO_PROCESS, thread[0], 19)
        return future.result()


class _Sessions:
    """Serves the requests, one connection each."""

    def __init__(self, compiled: Any, limits: Limits, owner: socket.socket) -> None:
        self._compiled = compiled
        self._limits = limits
        self._maker = owner
        self._selector = selectors.DefaultSelector()

    def run(self, listener: socket.socket) -> None:
        self._selector.register(self._maker, selectors.EVENT_READ, None)
        self._selector.register(listener, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._maker:
                    return  # it sends nothing more: it hung up
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    self._selector.register(connection, selectors.EVENT_READ, _Session(self))
                else:
                    self._answer(key)

    def _answer(self, key: selectors.SelectorKey) -> None:
        connection: Any = key.fileobj
        walk: _Session = key.data
        try:
            asked = connection.recv(1 << 20)
            if asked:
                connection.send(walk.answer(asked))
        except OSError:
            asked = b""
        if not asked:
            self._selector.unregister(connection)
            connection.close()

    def matcher(self, stops: list[int]) -> Any:
        return xgr.GrammarMatcher(self._compiled, override_stop_tokens=stops or None)

    def clock(self) -> Clock:
        return Clock(self._limits)

    @property
    def vocab_size(self) -> int:
        return int(self._compiled.tokenizer_info.vocab_size)

    def report(self, failure: str) -> None:
        """Reports to the owner why a request failed."""
        send(self._maker, json.dumps({"failure": failure}).encode())


class _Session:
    """One request's state in the grammar.

    Messages begin with a letter: `o`pen with the stop tokens, `m`ask after accepting tokens,
    `v`alidate tokens, `r`oll back by a number of them. Tokens are int32.
    """

    def __init__(self, masks: _Sessions) -> None:
        self._masks = masks
        self._matcher: Any = None
        self._clock = masks.clock()
        self._mask = np.zeros((1, -(-masks.vocab_size // 32)), dtype=np.int32)

    def answer(self, asked: bytes) -> bytes:
        tokens = np.frombuffer(asked[1:], dtype=np.int32).tolist()
        reply = self._clock.run(lambda: self._work(asked[:1], tokens))
        if self._clock.is_slow:
            self._masks.report("slow")
            return SLOW
        return bytes(reply)

    def _work(self, letter: bytes, tokens: list[int]) -> bytes:
        if letter == b"o":
            self._matcher = self._masks.matcher(tokens)
            stops = [self._masks.vocab_size, *self._matcher.stop_token_ids]
            return OK + np.array(stops, dtype=np.int32).tobytes()
        if letter == b"r":
            self._matcher.rollback(tokens[0])
            return OK
        if letter == b"v":
            # validating must not move on: what was accepted is taken back
            accepted = self._accept(tokens)
            if accepted:
                self._matcher.rollback(accepted)
            return OK + np.array([accepted], dtype=np.int32).tobytes()
        if self._accept(tokens) < len(tokens):
            self._masks.report("rejected")
            return REJECTED
        if self._matcher.is_terminated():
            return OK
        self._matcher.fill_next_token_bitmask(self._mask, 0)
        if not self._mask.any():
            self._masks.report("stuck")
            return STUCK
        return OK + self._mask.tobytes()

    def _accept(self, tokens: list[int]) -> int:
        for number, token in enumerate(tokens):
            if self._matcher.is_terminated():
                return number
            if not self._matcher.accept_token(token):
                return number
        return len(tokens)


def _bound_memory(megabytes: int) -> None:
    # RLIMIT_AS counts what the fork server mapped before (xgrammar, vocabulary), too
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    bound = mapped + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    # native code aborts when memory runs out, and would write the vocabulary to a core file
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _sentence(error: Exception) -> str:
    """xgrammar's error message without its time and source location: `[12:00:00]
    /project/cpp/x.cc:1: `."""
    said = " ".join(str(error).split()) or type(error).__name__
    _, separator, rest = said.partition(".cc:")
    if separator:
        said = rest.partition(": ")[2] or said
    return said[:300]


def send(connection: socket.socket, message: bytes) -> None:
    connection.sendall(len(message).to_bytes(_LENGTH_BYTES, "big") + message)


def receive(connection: socket.socket) -> bytes:
    """The next message; empty when the other end has disconnected."""
    head = _exactly(connection, _LENGTH_BYTES)
    return _exactly(connection, int.from_bytes(head, "big")) if head else b""


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return bytes(data)
