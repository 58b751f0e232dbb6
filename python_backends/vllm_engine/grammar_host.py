"""One grammar in a process of its own: compiled, tried, and asked for masks token by token.

Nothing here can be interrupted: a compile or a mask may take for ever, in native code. So the
kernel ends the process when it has computed for too long or taken too much memory, and whoever
waits for it sees its connections close. The grammar's maker stays connected as long as the grammar
is wanted; each request that obeys it has a socket of its own.
"""

import json
import os
import random
import resource
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import xgrammar as xgr  # type: ignore[import-not-found]

from python_backends.vllm_engine.alphabet import Alphabet, fit, holds_only_json, words_of

Limits = Mapping[str, Any]
_FRAME = 4
_ALLOWANCE_S = 1.0
"""What masks may take in all before their average counts."""
_USUAL_S = 0.5
"""What takes longer to compile is unusual, and waits for everything else."""
_TRIAL_TOKENS = 48
_TRIAL_WALKS = 2
REJECTED, SLOW, STUCK, OK = b"\x01", b"\x02", b"\x03", b"\x00"


class Vocabulary:
    """The model's tokens: xgrammar's TokenizerInfo, and the characters that they can write."""

    def __init__(self, serialized: str) -> None:
        self.info = xgr.TokenizerInfo.deserialize_json(serialized)
        self.alphabet = Alphabet(words_of(self.info))


class TooSlow(Exception):
    """Its masks take too long."""


def serve(maker: socket.socket, folder: str, vocabulary: Vocabulary, limits: Limits) -> None:
    """Compiles what the maker sends, answers it, then serves masks until it hangs up."""
    _bound_memory(int(limits["grammar_memory_mb"]))
    asked = json.loads(receive(maker) or b"{}")
    if not asked:
        return
    try:
        compiled = _beside(lambda: _make(vocabulary, asked, limits))
    except TooSlow:
        send(maker, b'{"slow": true}')
        return
    except (RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        send(maker, json.dumps({"refused": _sentence(error)}).encode())
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        path = f"{folder}/{os.getpid()}"
        door.bind(path)
        door.listen(64)
        send(maker, json.dumps({"path": path}).encode())
        try:
            _Masks(compiled, limits, maker).run(door)
        finally:
            Path(path).unlink()


def _make(vocabulary: Vocabulary, asked: Mapping[str, str], limits: Limits) -> Any:
    signal.setitimer(signal.ITIMER_PROF, float(limits["grammar_compile_s"]))
    compiled = compile_grammar(vocabulary, asked["kind"], asked["text"], limits)
    signal.setitimer(signal.ITIMER_PROF, 0)
    try_out(compiled, limits)
    return compiled


def _beside(work: Callable[[], Any]) -> Any:
    """Runs in a thread that gives way to everybody, more so when it takes long: only its own
    request waits for it.

    Niceness is a thread's own on Linux, and a process cannot take it back: masks are not nice.
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


def compile_grammar(
    vocabulary: Vocabulary, kind: str, text: str, limits: Limits
) -> xgr.CompiledGrammar:
    """Raises what xgrammar raises for a text that is not one."""
    grammar, alphabet = _read(kind, text, limits), vocabulary.alphabet
    if not alphabet.is_complete:
        is_json = kind in ("json", "json_object") or (
            kind == "structural_tag" and holds_only_json(json.loads(text), alphabet)
        )
        grammar = xgr.Grammar.deserialize_json(
            fit(grammar.serialize_json(), alphabet, is_json=is_json)
        )
    compiler = xgr.GrammarCompiler(vocabulary.info, max_threads=1, cache_enabled=False)
    return compiler.compile_grammar(grammar)


def _read(kind: str, text: str, limits: Limits) -> xgr.Grammar:
    if kind in ("json", "json_object"):
        if limits.get("compact"):
            return xgr.Grammar.from_json_schema(text, any_whitespace=False, separators=(",", ":"))
        blanks = int(limits["grammar_whitespace"])
        return xgr.Grammar.from_json_schema(text, max_whitespace_cnt=blanks)
    if kind == "regex":
        return xgr.Grammar.from_regex(text)
    if kind == "structural_tag":
        tag = json.loads(text)
        if "structures" in tag:
            items = [
                xgr.StructuralTagItem(
                    begin=one["begin"], schema=json.dumps(one["schema"]), end=one["end"]
                )
                for one in tag["structures"]
            ]
            return xgr.Grammar.from_structural_tag(items, tag["triggers"])
        return xgr.Grammar.from_structural_tag(text)
    if kind == "grammar" and "::=" not in text:
        return xgr.Grammar.from_lark(text)
    return xgr.Grammar.from_ebnf(text)


def try_out(compiled: Any, limits: Limits) -> None:
    """Walks through the grammar at random. Raises TooSlow, and ValueError when nothing matches."""
    vocab_size = compiled.tokenizer_info.vocab_size
    mask = np.zeros((1, -(-vocab_size // 32)), dtype=np.int32)
    chance = random.Random(0)  # noqa: S311  the same grammar, the same verdict
    for _ in range(_TRIAL_WALKS):
        matcher = xgr.GrammarMatcher(compiled)
        stops = set(matcher.stop_token_ids)
        clock = _Clock(limits)
        for step in range(_TRIAL_TOKENS):
            clock.run(lambda: matcher.fill_next_token_bitmask(mask, 0))  # noqa: B023
            allowed = np.nonzero(np.unpackbits(mask[0].view(np.uint8), bitorder="little"))[0]
            going_on = [one for one in allowed if one not in stops]
            if not step and not len(allowed):
                raise ValueError("nothing can match it")
            if not going_on:
                if not len(allowed):
                    raise ValueError("no token can follow after some of what matches it")
                break
            token = int(chance.choice(going_on))
            clock.run(lambda: matcher.accept_token(token))  # noqa: B023
            if clock.is_slow:
                raise TooSlow


class _Clock:
    """Times the work for one request; the kernel ends the process within a single long one."""

    def __init__(self, limits: Limits) -> None:
        self._longest_s = float(limits["grammar_mask_ms"]) / 1000
        self._share_s = float(limits["grammar_share_ms"]) / 1000
        self._spent_s = 0.0
        self._count = 0

    def run(self, work: Callable[[], Any]) -> Any:
        before_s = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, self._longest_s)
        try:
            return work()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._spent_s += time.process_time() - before_s
            self._count += 1

    @property
    def is_slow(self) -> bool:
        return self._spent_s > _ALLOWANCE_S + self._share_s * self._count


class _Masks:
    """Answers requests' questions, one connection each."""

    def __init__(self, compiled: Any, limits: Limits, maker: socket.socket) -> None:
        self._compiled = compiled
        self._limits = limits
        self._maker = maker
        self._selector = selectors.DefaultSelector()

    def run(self, door: socket.socket) -> None:
        self._selector.register(self._maker, selectors.EVENT_READ, None)
        self._selector.register(door, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._maker:
                    return  # it sends nothing more: it hung up
                if key.fileobj is door:
                    connection, _ = door.accept()
                    self._selector.register(connection, selectors.EVENT_READ, _Walk(self))
                else:
                    self._answer(key)

    def _answer(self, key: selectors.SelectorKey) -> None:
        connection: Any = key.fileobj
        walk: _Walk = key.data
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

    def clock(self) -> _Clock:
        return _Clock(self._limits)

    @property
    def vocab_size(self) -> int:
        return int(self._compiled.tokenizer_info.vocab_size)

    def report(self, failure: str) -> None:
        """Tells the maker why a request that obeys the grammar cannot go on."""
        send(self._maker, json.dumps({"failure": failure}).encode())


class _Walk:
    """One request's way through the grammar.

    Questions begin with a letter: `o`pen with the stop tokens, `m`ask after accepting tokens,
    `v`alidate tokens, `r`oll back by a number of them. Tokens are int32.
    """

    def __init__(self, masks: _Masks) -> None:
        self._masks = masks
        self._matcher: Any = None
        self._clock = masks.clock()
        self._mask = np.zeros((1, -(-masks.vocab_size // 32)), dtype=np.int32)

    def answer(self, asked: bytes) -> bytes:
        tokens = np.frombuffer(asked[1:], dtype=np.int32).tolist()
        found = self._clock.run(lambda: self._work(asked[:1], tokens))
        if self._clock.is_slow:
            self._masks.report("slow")
            return SLOW
        return bytes(found)

    def _work(self, letter: bytes, tokens: list[int]) -> bytes:
        if letter == b"o":
            self._matcher = self._masks.matcher(tokens)
            stops = [self._masks.vocab_size, *self._matcher.stop_token_ids]
            return OK + np.array(stops, dtype=np.int32).tobytes()
        if letter == b"r":
            self._matcher.rollback(tokens[0])
            return OK
        if letter == b"v":
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
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    bound = mapped + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _sentence(error: Exception) -> str:
    """What xgrammar says, without its time and place: `[12:00:00] /project/cpp/x.cc:1: `."""
    said = " ".join(str(error).split()) or type(error).__name__
    _, found, rest = said.partition(".cc:")
    if found:
        said = rest.partition(": ")[2] or said
    return said[:300]


def send(connection: socket.socket, message: bytes) -> None:
    connection.sendall(len(message).to_bytes(_FRAME, "big") + message)


def receive(connection: socket.socket) -> bytes:
    """The next message; empty when the other end hung up."""
    head = _exactly(connection, _FRAME)
    return _exactly(connection, int.from_bytes(head, "big")) if head else b""


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            return b""
        found += piece
    return bytes(found)
