"""What blocks the event loop is counted, and named by the log."""

import asyncio
import ctypes
import logging
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from frontend.telemetry.watchdog import Watchdog

HOLDING = ctypes.PyDLL(None)  # its calls keep the interpreter's lock


def python_that_blocks() -> None:
    end_s = time.monotonic() + 0.3
    while time.monotonic() < end_s:
        pass


def sleep_that_blocks() -> None:
    time.sleep(0.3)


def extension_that_blocks() -> None:
    HOLDING.usleep(300_000)


@pytest.mark.parametrize(
    "block",
    [python_that_blocks, sleep_that_blocks, extension_that_blocks],
    ids=lambda f: f.__name__,
)
async def test_a_block_is_counted_and_its_cause_is_logged(
    block: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    began, ended = [], asyncio.Event()
    blocked_s: list[float] = []
    loop = asyncio.get_running_loop()

    def end(seconds: float) -> None:
        blocked_s.append(seconds)
        loop.call_soon_threadsafe(ended.set)

    dog = Watchdog(0.1, lambda: began.append(1), end)
    with caplog.at_level(logging.WARNING), dog.watching(loop):
        async with asyncio.timeout(60):
            # after a block that held the interpreter's lock, the loop may run before the thread
            while not ended.is_set():
                loop.call_soon(block)
                with suppress(TimeoutError):
                    async with asyncio.timeout(2):
                        await ended.wait()
    assert len(began) == len(blocked_s) >= 1
    assert max(blocked_s) >= 0.3
    assert [text for text in caplog.messages if block.__name__ in text and "blocked for" in text]
    assert __file__ in caplog.text


async def test_waiting_is_no_block(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[float] = []
    with Watchdog(5, lambda: None, ended.append).watching(asyncio.get_running_loop()):
        await asyncio.sleep(0.2)
    assert not ended
