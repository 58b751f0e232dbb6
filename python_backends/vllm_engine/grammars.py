"""Grammars of one engine's requests: made, shared, and ended when no request wants them.

Each has a process of its own (grammar_host.py), and callers have their own: what one caller's
grammar does ends no other's. Lives in the engine's loop.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from python_backends.errors import InvalidInput, StepError, Unavailable
from python_backends.vllm_engine.grammar_limits import Grammar, GrammarLimits
from python_backends.vllm_engine.reaper import private_folder
from python_backends.vllm_engine.shares import Shares

_ROOT = Path(__file__).parents[2]
_IDLE = 8
"""Processes that are kept for the next request with the same grammar."""
_REFUSALS = 512
_PATIENCE = 12
"""Seconds that a compile may take for each of computing: the engine goes first."""
_FAREWELL_S = 0.5
"""How long after its request failed the end of a grammar's process may take to be known."""
_FRAME = 4

Key = tuple[str, str]
"""The caller, and the digest of the grammar."""


class Host:
    """One grammar's process. `path` is where the engine's core asks it for masks."""

    def __init__(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.path = path
        self.users = 0
        self.gone = False
        self._failed = asyncio.Event()
        self._cause = "slow"
        """Of the last failure. The kernel ends a process that computes too long: no word of it."""
        self._reader = reader
        self._writer = writer
        self._wanted = True

    async def watch(self) -> None:
        """Returns when the process is gone."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                self._cause = json.loads(await _receive(self._reader))["failure"]
                self._failed.set()
        self.gone = True
        if self._wanted and not self._failed.is_set():
            self._failed.set()
        self._writer.close()

    def close(self) -> None:
        self._wanted = False
        self._writer.close()

    async def failure(self) -> StepError | None:
        """Why the engine gave up a request with this grammar; None when it is not to blame."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._failed.wait(), _FAREWELL_S)
            return _FAILURES[self._cause]("structured_outputs")
        return None


class Grammars:
    """The grammars of one engine, as long as it lives."""

    def __init__(self, limits: GrammarLimits) -> None:
        self._limits = limits
        self._settings: dict[str, Any] = {}
        self._spawn()
        self._hosts: OrderedDict[Key, _Making] = OrderedDict()
        self._refused: OrderedDict[str, InvalidInput] = OrderedDict()
        self._compiles = Shares(limits.grammar_compiles)
        self._processes = Shares(limits.grammar_processes)
        self._reviving = asyncio.Lock()

    def start(self, vocabulary: str, *, compact: bool) -> None:
        """Hands over the vocabulary, xgrammar's TokenizerInfo as JSON. Raises RuntimeError."""
        limits = asdict(self._limits) | {"compact": compact}
        self._settings = {"limits": limits, "vocabulary": vocabulary}
        self._introduce()

    def _spawn(self) -> None:
        self._folder = private_folder("grammars")
        self._keeper = _start_keeper()

    def _introduce(self) -> None:
        settings = self._settings | {"folder": self._folder}
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(json.dumps(settings).encode() + b"\n")
        self._keeper.stdin.flush()
        if self._keeper.stdout.readline() != b"ready\n":
            raise RuntimeError("the process that compiles grammars did not start")

    def close(self) -> None:
        """Ends every process and removes the folder."""
        for stream in (self._keeper.stdin, self._keeper.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._keeper.wait(5)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def hosted(self, grammar: Grammar, caller: str) -> AsyncIterator[Host]:
        """The grammar's process for as long as the block lasts.

        Raises InvalidInput for a grammar that cannot be compiled within its limits, Unavailable
        when too many wait. Cancelled, it ends the compile unless another request waits for it.
        """
        key = (caller, hashlib.sha256(f"{grammar.kind}\0{grammar.text}".encode()).hexdigest())
        if (refusal := self._refused.get(key[1])) is not None:
            raise InvalidInput(refusal.message, code=refusal.code, param=grammar.param)
        making = self._hosts.get(key)
        if making is None or (making.host is not None and making.host.gone):
            making = self._hosts[key] = _Making(self._make(key, grammar))
        self._hosts.move_to_end(key)
        host = await making.wait()
        host.users += 1
        try:
            yield host
        finally:
            host.users -= 1
            self._close_idle(_IDLE)

    async def _make(self, key: Key, grammar: Grammar) -> Host:
        caller, watched = key[0], False
        try:
            if not self._processes.may(caller):
                self._close_idle(0)
            await self._processes.acquire(caller)
            try:
                async with self._compiles.held(caller):
                    host = await self._compile(key[1], grammar)
                watched = True
            finally:
                if not watched:
                    self._processes.release(caller)
        except BaseException:
            del self._hosts[key]
            raise
        self._hosts[key].watching = asyncio.get_running_loop().create_task(self._watch(key, host))
        return host

    async def _watch(self, key: Key, host: Host) -> None:
        await host.watch()
        self._processes.release(key[0])
        if (making := self._hosts.get(key)) is not None and making.host is host:
            del self._hosts[key]

    def _close_idle(self, kept: int) -> None:
        idle = [(key, host) for key, m in self._hosts.items() if (host := m.idle) is not None]
        for key, host in idle[: max(0, len(idle) - kept)]:  # the longest unused first
            del self._hosts[key]
            host.close()

    async def _compile(self, digest: str, grammar: Grammar) -> Host:
        try:
            reader, writer = await asyncio.open_unix_connection(f"{self._folder}/keeper")
        except OSError:  # the keeper is gone, and all its children with it
            await self._revive()
            raise Unavailable("grammars cannot be compiled at this moment; try again") from None
        told = None
        try:
            _send(writer, {"kind": grammar.kind, "text": grammar.text})
            async with asyncio.timeout(self._limits.grammar_compile_s * _PATIENCE):
                told = json.loads(await _receive(reader))
        except asyncio.IncompleteReadError:
            told = {}
        except TimeoutError:
            raise Unavailable("the server has no time to compile the grammar; try again") from None
        finally:
            if told is None or "path" not in told:
                writer.close()
        if "path" in told:
            return Host(told["path"], reader, writer)
        raise self._refuse(digest, grammar, told)

    async def _revive(self) -> None:
        async with self._reviving:
            if self._keeper.poll() is not None:
                self.close()
                self._spawn()
                await asyncio.to_thread(self._introduce)

    def _refuse(self, digest: str, grammar: Grammar, told: dict[str, Any]) -> InvalidInput:
        limits, sentence = self._limits, told.get("refused", "")
        if "slow" in told:
            refusal = _too_slow(grammar.param)
        elif not sentence or "bad_alloc" in sentence:
            refusal = InvalidInput(
                "to compile what the reply must match takes more than"
                f" {limits.grammar_compile_s:g} s of computing or {limits.grammar_memory_mb} MB of"
                " memory; make it smaller: fewer properties, alternatives and repetitions",
                code="grammar_too_expensive",
                param=grammar.param,
            )
        else:
            refusal = InvalidInput(
                f"what the reply must match cannot be compiled: {sentence}",
                code="invalid_grammar",
                param=grammar.param,
            )
        self._refused[digest] = refusal
        while len(self._refused) > _REFUSALS:
            self._refused.popitem(last=False)
        return refusal


def _too_slow(param: str) -> InvalidInput:
    return InvalidInput(
        "what the reply must match is too ambiguous: to find out which tokens may come next takes"
        " too long; make it smaller or less ambiguous",
        code="grammar_too_expensive",
        param=param,
    )


def _stuck(param: str) -> InvalidInput:
    return InvalidInput(
        "the reply reached a point where no token of the model matches what it must match",
        code="invalid_grammar",
        param=param,
    )


def _rejected(param: str) -> InvalidInput:
    return InvalidInput(
        "the sampling parameters exclude every token that matches what the reply must match; check"
        " 'allowed_token_ids', 'bad_words', 'logit_bias' and 'min_tokens'",
        code="invalid_grammar",
        param=param,
    )


_FAILURES = {"slow": _too_slow, "stuck": _stuck, "rejected": _rejected}


class _Making:
    """A host that is there or being made; the last who stops waiting for it ends the work."""

    def __init__(self, work: Any) -> None:
        self._task: asyncio.Task[Host] = asyncio.get_running_loop().create_task(work)
        self._waiting = 0
        self.watching: asyncio.Task[None] | None = None

    @property
    def host(self) -> Host | None:
        done = self._task.done() and not self._task.cancelled() and not self._task.exception()
        return self._task.result() if done else None

    @property
    def idle(self) -> Host | None:
        """The host when no request uses it."""
        host = self.host
        return host if host is not None and not host.users and not self._waiting else None

    async def wait(self) -> Host:
        self._waiting += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._task.done():
                self._task.cancel()


def _start_keeper() -> "subprocess.Popen[bytes]":
    """Starts to import at once; it needs the vocabulary only afterwards."""
    code = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from {_PACKAGE} import main; main()"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [PYTHON, "-s", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **threads},
        cwd="/",
    )


PYTHON = sys.executable
_PACKAGE = "python_backends.vllm_engine.grammar_keeper"


def _send(writer: asyncio.StreamWriter, value: object) -> None:
    message = json.dumps(value).encode()
    writer.write(len(message).to_bytes(_FRAME, "big") + message)


async def _receive(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await reader.readexactly(_FRAME), "big")
    return await reader.readexactly(size)
