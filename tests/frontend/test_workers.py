"""Processes for risky work: they end at the deadline, and one caller leaves room for the others."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from frontend.errors import Overloaded, RateLimited
from frontend.workers import WorkerDied, Workers, WorkerTimeout
from tests.support.processes import wait_for
from tests.support.work import blocked, die, grow, hang, number, refuse, spin, stall


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    """Two processes; three seconds each; two calls of one caller, four of all."""
    two = Workers(2, deadline_s=3, memory_bytes=2**29, max_waiting=4)
    yield two
    await two.close()


async def test_a_call_runs_in_another_process_and_the_process_is_kept(workers: Workers) -> None:
    first = await workers.call(number, caller="ada")
    assert first != os.getpid()
    assert {await workers.call(number, caller="ada") for _ in range(5)} <= {
        child.pid for child in psutil.Process().children(recursive=True)
    }


@pytest.mark.parametrize("work", [hang, spin])
async def test_what_does_not_end_is_killed_at_the_deadline(
    workers: Workers, work: Callable[[], None]
) -> None:
    with pytest.raises(WorkerTimeout, match="3 s"):
        await workers.call(work, caller="ada")
    assert await workers.call(number, caller="ada")


async def test_memory_beyond_the_limit_is_refused(workers: Workers) -> None:
    with pytest.raises(MemoryError):
        await workers.call(grow, caller="ada")


async def test_a_process_that_dies_fails_its_own_call_alone(workers: Workers) -> None:
    with pytest.raises(WorkerDied, match="3"):
        await workers.call(die, caller="ada")
    assert await workers.call(number, caller="ada")


async def test_what_the_function_raises_reaches_the_caller(workers: Workers) -> None:
    with pytest.raises(ValueError, match="not this"):
        await workers.call(refuse, caller="ada")


async def test_one_caller_cannot_hold_every_process(workers: Workers) -> None:
    hanging = [asyncio.create_task(workers.call(hang, caller="mallory")) for _ in range(2)]
    await asyncio.sleep(0)
    assert await workers.call(number, caller="ada")
    assert not all(one.done() for one in hanging), "their caller had both processes"
    assert {type(one) for one in await asyncio.gather(*hanging, return_exceptions=True)} == {
        WorkerTimeout
    }


async def test_the_queue_is_bounded_per_caller_and_in_all(workers: Workers) -> None:
    await workers.call(number, caller="ada")
    waiting = [asyncio.create_task(workers.call(hang, caller="mallory")) for _ in range(2)]
    await asyncio.sleep(0.01)
    with pytest.raises(RateLimited):
        await workers.call(number, caller="mallory")
    waiting += [asyncio.create_task(workers.call(hang, caller=f"m{k}")) for k in range(2)]
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await workers.call(number, caller="ada")
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await workers.call(number, caller="ada")


async def test_a_caller_that_leaves_ends_its_work(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    patient = Workers(1, deadline_s=60, memory_bytes=2**29)
    task = asyncio.create_task(patient.call(stall, mark, caller="ada"))
    await asyncio.to_thread(wait_for, lambda: mark.exists() and mark.read_text(), what="the work")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    pid = int(mark.read_text())
    await asyncio.to_thread(wait_for, lambda: not psutil.pid_exists(pid), what="its end")
    await patient.close()


async def test_ctrl_c_does_not_reach_a_process_not_even_while_it_starts(workers: Workers) -> None:
    # blocked, not ignored later: Ctrl-C right after the start printed the imports' tracebacks
    assert signal.SIGINT in await workers.call(blocked, caller="a")
    assert signal.SIGINT not in blocked()


async def test_no_process_is_left(workers: Workers) -> None:
    pid = await workers.call(number, caller="ada")
    await workers.close()
    assert not psutil.pid_exists(pid)
