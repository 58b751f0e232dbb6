"""The engine's connection to one grammar's process: detects its end and why requests failed."""

import asyncio
import contextlib
import json

from python_backends.errors import InvalidInput, StepError

_FAILURE_WAIT_S = 0.5
"""How long to wait for a process's failure report after its request failed."""
_LENGTH_BYTES = 4


class Host:
    """A connection to one grammar's process. `path` is the socket for the engine's core."""

    def __init__(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.path = path
        self.users = 0
        self.gone = False
        self._failed = asyncio.Event()
        self._cause = "slow"
        """Of the last failure. A process that the kernel kills for its CPU time cannot report
        one."""
        self._reader = reader
        self._writer = writer
        self._wanted = True

    async def watch(self) -> None:
        """Returns when the process has ended."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                self._cause = json.loads(await receive(self._reader))["failure"]
                self._failed.set()
        self.gone = True
        # when it was closed on purpose its end is not a failure of a request
        if self._wanted and not self._failed.is_set():
            self._failed.set()
        self._writer.close()

    def close(self) -> None:
        self._wanted = False
        self._writer.close()

    async def failure(self) -> StepError | None:
        """The error for a request that failed with this grammar; None if the grammar is not the
        cause."""
        with contextlib.suppress(TimeoutError):
            # the report comes on another connection than the failed mask, and may be behind it
            await asyncio.wait_for(self._failed.wait(), _FAILURE_WAIT_S)
            return _FAILURES[self._cause]("structured_outputs")
        return None


def too_slow(param: str) -> InvalidInput:
    return InvalidInput(
        "the grammar of the reply is too ambiguous: computing the allowed tokens takes too"
        " long; make it smaller or less ambiguous",
        code="grammar_too_expensive",
        param=param,
    )


def _stuck(param: str) -> InvalidInput:
    return InvalidInput(
        "the reply reached a point where the grammar allows no token of the model",
        code="invalid_grammar",
        param=param,
    )


def _rejected(param: str) -> InvalidInput:
    return InvalidInput(
        "the sampling parameters exclude every token that the grammar of the reply allows; check"
        " 'allowed_token_ids', 'bad_words', 'logit_bias' and 'min_tokens'",
        code="invalid_grammar",
        param=param,
    )


_FAILURES = {"slow": too_slow, "stuck": _stuck, "rejected": _rejected}


def send(writer: asyncio.StreamWriter, value: object) -> None:
    message = json.dumps(value).encode()
    writer.write(len(message).to_bytes(_LENGTH_BYTES, "big") + message)


async def receive(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    return await reader.readexactly(size)
