"""The grammars of one engine's requests: compiled once, shared, and closed when unused.

Each grammar has its own process (grammar_process.py), and callers do not share processes, so one
caller's grammar cannot end another's request. Used in the engine's loop.
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

from python_backends.errors import InvalidInput, Unavailable
from python_backends.vllm_engine.grammar_client import Host, receive, send, too_slow
from python_backends.vllm_engine.grammar_limits import Grammar, GrammarLimits
from python_backends.vllm_engine.reaper import private_folder
from python_backends.vllm_engine.slots import CallerSlots

_ROOT = Path(__file__).parents[2]
_IDLE = 8
"""Unused processes to keep for later requests with the same grammar."""
_REFUSALS = 512
_WAIT_FACTOR = 12
"""Wall-clock seconds allowed per CPU second of a compile, which has a lower priority than the
engine."""

Key = tuple[str, str]
"""The caller, and the digest of the grammar."""


class Grammars:
    """The grammars of one engine."""

    def __init__(self, limits: GrammarLimits) -> None:
        self._limits = limits
        self._settings: dict[str, Any] = {}
        self._spawn()
        self._hosts: OrderedDict[Key, _Pending] = OrderedDict()
        self._refused: OrderedDict[str, InvalidInput] = OrderedDict()
        self._compiles = CallerSlots(limits.grammar_compiles)
        self._processes = CallerSlots(limits.grammar_processes)
        self._reviving = asyncio.Lock()

    def start(self, vocabulary: str, *, compact: bool) -> None:
        """Passes the vocabulary, xgrammar's TokenizerInfo as JSON. Raises RuntimeError if the
        process that compiles grammars does not start."""
        limits = asdict(self._limits) | {"compact": compact}
        self._settings = {"limits": limits, "vocabulary": vocabulary}
        self._introduce()

    def _spawn(self) -> None:
        self._folder = private_folder()
        self._forkserver = _start_forkserver()

    def _introduce(self) -> None:
        settings = self._settings | {"folder": self._folder}
        assert self._forkserver.stdin is not None
        assert self._forkserver.stdout is not None
        self._forkserver.stdin.write(json.dumps(settings).encode() + b"\n")
        self._forkserver.stdin.flush()
        if self._forkserver.stdout.readline() != b"ready\n":
            raise RuntimeError("the process that compiles grammars did not start")

    def close(self) -> None:
        """Ends every process and removes the folder."""
        for stream in (self._forkserver.stdin, self._forkserver.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._forkserver.wait(5)
        except subprocess.TimeoutExpired:
            self._forkserver.kill()
            self._forkserver.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def hosted(self, grammar: Grammar, caller: str) -> AsyncIterator[Host]:
        """Opens the grammar's process for the duration of the block.

        Raises InvalidInput for a grammar that cannot be compiled within its limits, Unavailable
        when too many requests wait. On cancellation the compile ends, unless another request needs
        it.
        """
        # the kind is part of it: the same text may be a regular expression and a grammar
        key = (caller, hashlib.sha256(f"{grammar.kind}\0{grammar.text}".encode()).hexdigest())
        # a refusal depends only on the text, so it holds for every caller
        if (refusal := self._refused.get(key[1])) is not None:
            raise InvalidInput(refusal.message, code=refusal.code, param=grammar.param)
        pending = self._hosts.get(key)
        if pending is None or pending.ending or (pending.host is not None and pending.host.gone):
            pending = self._hosts[key] = _Pending(self._make(key, grammar))
        self._hosts.move_to_end(key)
        host = await pending.wait()
        # no `await` since `wait`: in between the host could be closed as idle
        host.users += 1
        try:
            yield host
        finally:
            host.users -= 1
            self._close_idle(_IDLE)

    async def _make(self, key: Key, grammar: Grammar) -> Host:
        caller, watched = key[0], False
        try:
            # unused processes hold slots, too: they go before a request has to wait
            if not self._processes.may(caller):
                self._close_idle(0)
            await self._processes.acquire(caller)
            try:
                # taken last: a compile never waits for a process while it holds a slot here
                async with self._compiles.held(caller):
                    host = await self._compile(key[1], grammar)
                watched = True
            finally:
                if not watched:
                    self._processes.release(caller)
        except BaseException:
            # a request that came while this one was being cancelled has a compile of its own
            pending = self._hosts.get(key)
            if pending is not None and pending.task is asyncio.current_task():
                del self._hosts[key]
            raise
        self._hosts[key].watching = asyncio.get_running_loop().create_task(self._watch(key, host))
        return host

    async def _watch(self, key: Key, host: Host) -> None:
        await host.watch()
        self._processes.release(key[0])
        if (pending := self._hosts.get(key)) is not None and pending.host is host:
            del self._hosts[key]

    def _close_idle(self, kept: int) -> None:
        idle = [(key, host) for key, m in self._hosts.items() if (host := m.idle) is not None]
        for key, host in idle[: max(0, len(idle) - kept)]:  # the longest unused first
            del self._hosts[key]
            # its slot is released by `_watch`, once the process is really gone
            host.close()

    async def _compile(self, digest: str, grammar: Grammar) -> Host:
        try:
            reader, writer = await asyncio.open_unix_connection(f"{self._folder}/keeper")
        except OSError:  # the keeper is gone, and all its children with it
            await self._revive()
            # not retried here: all grammars of the engine have ended, and their requests fail too
            raise Unavailable("grammars cannot be compiled right now; try again") from None
        reply = None
        try:
            send(writer, {"kind": grammar.kind, "text": grammar.text})
            async with asyncio.timeout(self._limits.grammar_compile_s * _WAIT_FACTOR):
                reply = json.loads(await receive(reader))
        # killed for its time or memory, which leaves no message
        except asyncio.IncompleteReadError:
            reply = {}
        except TimeoutError:
            raise Unavailable("the server is too busy to compile the grammar; try again") from None
        finally:
            if reply is None or "path" not in reply:
                writer.close()
        if "path" in reply:
            return Host(reply["path"], reader, writer)
        raise self._refuse(digest, grammar, reply)

    async def _revive(self) -> None:
        # all requests notice at the same time; the first one starts the new server
        async with self._reviving:
            if self._forkserver.poll() is not None:
                self.close()
                self._spawn()
                await asyncio.to_thread(self._introduce)

    def _refuse(self, digest: str, grammar: Grammar, reply: dict[str, Any]) -> InvalidInput:
        limits, sentence = self._limits, reply.get("refused", "")
        if "slow" in reply:
            refusal = too_slow(grammar.param)
        elif not sentence or "bad_alloc" in sentence:
            refusal = InvalidInput(
                "compiling the grammar of the reply takes more than"
                f" {limits.grammar_compile_s:g} s of CPU time or {limits.grammar_memory_mb} MB of"
                " memory; make it smaller: fewer properties, alternatives and repetitions",
                code="grammar_too_expensive",
                param=grammar.param,
            )
        else:
            refusal = InvalidInput(
                f"the grammar of the reply cannot be compiled: {sentence}",
                code="invalid_grammar",
                param=grammar.param,
            )
        self._refused[digest] = refusal
        while len(self._refused) > _REFUSALS:
            self._refused.popitem(last=False)
        return refusal


class _Pending:
    """A process that is running or being started; it is cancelled when the last request stops
    waiting."""

    def __init__(self, work: Any) -> None:
        self.task: asyncio.Task[Host] = asyncio.get_running_loop().create_task(work)
        self.ending = False
        self._waiting = 0
        self.watching: asyncio.Task[None] | None = None

    @property
    def host(self) -> Host | None:
        done = self.task.done() and not self.task.cancelled() and not self.task.exception()
        return self.task.result() if done else None

    @property
    def idle(self) -> Host | None:
        """The host when no request uses it."""
        host = self.host
        return host if host is not None and not host.users and not self._waiting else None

    async def wait(self) -> Host:
        self._waiting += 1
        try:
            # one request's cancellation must not end a compile that others wait for
            return await asyncio.shield(self.task)
        finally:
            self._waiting -= 1
            if not self._waiting and not self.task.done():
                self.ending = True
                self.task.cancel()


def _start_forkserver() -> "subprocess.Popen[bytes]":
    """Starts importing at once; the vocabulary is sent later."""
    code = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from {_PACKAGE} import main; main()"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [PYTHON, "-s", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **threads},
        # not the server's working directory: a module there would shadow an installed one
        cwd="/",
    )


PYTHON = sys.executable
_PACKAGE = "python_backends.vllm_engine.grammar_forkserver"
