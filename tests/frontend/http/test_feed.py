"""One producer for all viewers: the present value first, and never more than the latest one."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from frontend.errors import Overloaded
from frontend.http.feed import Feed


def numbers() -> tuple[Feed[str], Iterator[int]]:
    made = count()
    return Feed(lambda: f"value {next(made)}", 0.001, most=3, most_own=2), made


async def test_viewers_share_a_producer_that_ends_with_the_last_of_them() -> None:
    feed, made = numbers()
    with feed.viewing("ada") as one, feed.viewing("bob") as two:
        assert await one.next() == await two.next() == "value 0"
        assert await one.next() == "value 1"
        while await one.next() != "value 5":
            pass
        # who was slow gets the latest value, and not those in between
        assert int((await two.next()).split()[1]) >= 5
        assert feed.viewers == 2
    assert feed.viewers == 0
    after = next(made)
    await asyncio.sleep(0.01)
    assert next(made) == after + 1, "nothing is made while nobody views"
    with feed.viewing("ada") as again:
        assert int((await again.next()).split()[1]) > after


async def test_viewers_are_bounded_of_one_user_and_of_all() -> None:
    feed, _ = numbers()
    with feed.viewing("ada"), feed.viewing("ada"):
        with (
            pytest.raises(Overloaded, match="at most 2 of one user and 3 of all"),
            feed.viewing("ada"),
        ):
            pass
        with feed.viewing("bob"), pytest.raises(Overloaded), feed.viewing("cat"):
            pass
        with feed.viewing("cat"):
            assert feed.viewers == 3


async def test_a_failure_reaches_every_viewer_and_the_next_one_starts_again() -> None:
    answers = iter([ValueError("broken"), "fine"])

    def make() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    feed: Feed[str] = Feed(make, 0.001)
    with feed.viewing("ada") as view:
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                await view.next()
    with feed.viewing("ada") as view:
        assert await view.next() == "fine"
