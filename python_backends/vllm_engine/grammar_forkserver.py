"""A fork server for grammars: each grammar gets its own process, which ends with its connection.

xgrammar and the model's vocabulary are loaded before the fork, so that a fork takes milliseconds.
Each connection to the socket belongs to one grammar: when it closes, the grammar's process is
killed. The first line of standard input has the settings; at its end the server exits.
"""

import contextlib
import ctypes
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
Serve = Callable[[socket.socket], None]


def main() -> None:
    """`{"folder", "limits", "vocabulary"}`: where to listen, GrammarLimits, xgrammar's
    TokenizerInfo as JSON."""
    # imported before the first fork, or every child would
    from python_backends.vllm_engine import grammar_compiler, grammar_process

    # whatever the stub did to its signals: this one must end a child that computes for too long
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    settings = json.loads(sys.stdin.buffer.readline() or b"{}")
    if not settings:
        return
    vocabulary = grammar_compiler.Vocabulary(settings["vocabulary"])
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page
    folder, limits = settings["folder"], settings["limits"]
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/keeper")
            listener.listen(128)
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            _ForkServer(listener).run(
                lambda owner: grammar_process.serve(owner, folder, vocabulary, limits)
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    owner: socket.socket
    handle: int

    def close(self) -> None:
        self.owner.close()
        os.close(self.handle)


class _ForkServer:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._poll = select.poll()
        # registered first, and reported in that order: after a hang-up nothing else is started
        self._poll.register(0, select.POLLIN)
        # before the children: numbers that `_end` frees are not used again in the same round
        self._poll.register(listener, select.POLLIN)
        self._children: dict[int, _Child] = {}
        """By either number at which its end shows: the owner hangs up, or the process ends."""

    def run(self, serve: Serve) -> None:
        while True:
            for number, _ in self._poll.poll():
                if number == 0:
                    for pid in {child.pid for child in self._children.values()}:
                        # they would notice their owners' ends, but not while they compute
                        os.kill(pid, signal.SIGKILL)
                    return
                if number == self._listener.fileno():
                    self._fork(serve)
                elif number in self._children:
                    self._end(self._children[number])

    def _fork(self, serve: Serve) -> None:
        owner, _ = self._listener.accept()
        pid = os.fork()
        if pid == 0:
            # a copy would keep another grammar's connection open after its owner closed it
            for child in self._children.values():
                with contextlib.suppress(OSError):  # each is there twice
                    child.close()
            self._listener.close()
            _run_child(owner, serve)
        child = _Child(pid, owner, os.pidfd_open(pid))
        # what the owner says is the child's: only that it hangs up is of interest here
        self._poll.register(owner, select.POLLRDHUP)
        self._poll.register(child.handle, select.POLLIN)
        self._children[owner.fileno()] = self._children[child.handle] = child

    def _end(self, child: _Child) -> None:
        for number in (child.owner.fileno(), child.handle):
            self._poll.unregister(number)
            del self._children[number]
        os.kill(child.pid, signal.SIGKILL)  # a zombie keeps its number until it is waited for
        os.waitpid(child.pid, 0)
        child.close()


def _run_child(owner: socket.socket, serve: Serve) -> None:
    """Never returns."""
    try:
        # a child must not outlive this server, also when that is killed
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        serve(owner)
    except OSError:
        pass  # the owner hung up
    except BaseException:
        traceback.print_exc()
    finally:
        # without the parent's atexit handlers and its buffered output
        os._exit(0)


if __name__ == "__main__":
    main()
