"""Work beside a block: it runs meanwhile, and has ended after it, however it ends."""

import asyncio

import pytest

from frontend.background import in_background


async def test_it_has_ended_after_the_block() -> None:
    began, ended = asyncio.Event(), list[str]()

    async def work(name: str) -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            # not only cancelled: its own end is waited for
            await asyncio.sleep(0)
            ended.append(name)

    async def use() -> None:
        async with in_background(work("one"), work("two")):
            await began.wait()
            assert not ended
            raise LookupError

    with pytest.raises(LookupError):
        await use()
    assert sorted(ended) == ["one", "two"]


async def test_its_error_does_not_reach_the_block() -> None:
    async def fail() -> None:
        raise OSError

    async with in_background(fail()):
        await asyncio.sleep(0)
