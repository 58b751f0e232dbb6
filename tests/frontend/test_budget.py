"""Memory that requests share: bounded in all and for each caller, and nobody waits for nothing."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from frontend.budget import Budget, Hold


async def granted(budget: Budget, caller: str, size: int) -> Hold | None:
    """A hold, if there is one without waiting."""
    try:
        async with asyncio.timeout(0):
            return await budget.take(caller, size)
    except TimeoutError:
        return None


async def test_a_caller_has_half_and_the_rest_is_for_others() -> None:
    budget = Budget(100)
    first = await budget.take("mallory", 50)
    assert await granted(budget, "mallory", 1) is None
    assert await granted(budget, "ada", 50) is not None
    assert await granted(budget, "bob", 1) is None
    first.release()
    assert await granted(budget, "bob", 1) is not None


async def test_more_than_there_is_can_be_had_alone() -> None:
    budget = Budget(100)
    assert await granted(budget, "ada", 1000) is not None
    assert await granted(budget, "bob", 1) is None


async def test_who_waits_is_let_in_when_room_comes() -> None:
    budget = Budget(100)
    first = await budget.take("ada", 50)
    waiting = asyncio.create_task(budget.take("ada", 30))
    await asyncio.sleep(0)
    assert not waiting.done()
    first.resize(20)
    hold = await waiting
    hold.release()
    first.release()
    first.release()
    assert await granted(budget, "ada", 50) is not None


async def test_who_gives_up_leaves_nothing_behind() -> None:
    budget = Budget(100)
    first = await budget.take("ada", 50)
    tasks = [asyncio.create_task(budget.take("ada", 50)) for _ in range(2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    first.release()  # in the same moment in which the second one gives up
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await granted(budget, "ada", 50) is not None


async def test_small_requests_do_not_keep_a_large_one_out_forever() -> None:
    budget = Budget(100)
    held = await budget.take("small-0", 50)
    large = asyncio.create_task(budget.take("large", 60))
    await asyncio.sleep(0)
    for number in range(1, 3):  # 100 bytes pass the large one
        following = await granted(budget, f"small-{number}", 50)
        assert following is not None
        held.release()
        held = following
    late = asyncio.create_task(budget.take("small-3", 40))
    await asyncio.sleep(0)
    assert not late.done()
    held.release()
    whole, rest = await asyncio.gather(large, late)
    whole.release()
    rest.release()


async def test_a_large_request_that_gives_up_holds_up_nobody() -> None:
    budget = Budget(10)
    held = await budget.take("small", 5)
    large = asyncio.create_task(budget.take("large", 6))
    await asyncio.sleep(0)
    for number in range(2):
        (await budget.take(f"passing-{number}", 5)).release()
    late = asyncio.create_task(budget.take("late", 5))
    await asyncio.sleep(0)
    assert not late.done()
    large.cancel()
    (await late).release()
    held.release()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 60), st.booleans())))
def test_the_bounds_hold_whatever_happens(steps: list[tuple[str, int, bool]]) -> None:
    async def run() -> None:
        budget, holds = Budget(100), list[Hold]()
        for caller, size, release in steps:
            if release and holds:
                holds.pop(0).release()
            elif (hold := await granted(budget, caller, size)) is not None:
                holds.append(hold)
            own = {each: [h.size for h in holds if h.caller == each] for each in "abc"}
            assert sum(map(sum, own.values())) <= 100
            assert all(sum(sizes) <= 50 or len(sizes) == 1 for sizes in own.values())
        for hold in holds:
            hold.release()
        assert await granted(budget, "a", 100) is not None

    asyncio.run(run())
