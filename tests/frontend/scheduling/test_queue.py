"""Slots are bounded, queues are bounded, and nothing leaks a slot."""

import asyncio
from dataclasses import replace

import pytest

from frontend.errors import BackendTimeout, Overloaded, RateLimited
from frontend.scheduling.jobs import Job
from frontend.scheduling.policy import FairShare
from frontend.scheduling.queue import Bounds, Queue
from frontend.scheduling.report import attained_of, jain_of, longest_wait_s, show_queue


def queue_of(slots: int, waiting: int = 4096, **bounds: int) -> Queue:
    return Queue(FairShare(slots), Bounds(waiting, **bounds))


def job(user: str = "u", *, background: bool = False, size: int = 0) -> Job:
    return Job("id", user, "m", 100, background=background, size_bytes=size)


async def hold(queue: Queue, release: asyncio.Event) -> None:
    async with queue.slot(job(), 5):
        await release.wait()


async def let_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_running_and_waiting_are_bounded() -> None:
    queue, release = queue_of(2, 1), asyncio.Event()
    tasks = [asyncio.create_task(hold(queue, release)) for _ in range(3)]
    await let_run()
    assert queue.running == 2
    with pytest.raises(Overloaded):
        await hold(queue, release)
    release.set()
    await asyncio.gather(*tasks)
    assert queue.idle


async def test_a_new_request_is_told_how_long_it_waits() -> None:
    queue, release = queue_of(2), asyncio.Event()
    assert queue.expected_wait_s == 0
    tasks = [asyncio.create_task(hold(queue, release)) for _ in range(2)]
    await let_run()
    full = queue.expected_wait_s
    assert full > 0
    tasks += [asyncio.create_task(hold(queue, release)) for _ in range(3)]
    await let_run()
    assert (queue.waiting, queue.expected_wait_s) == (3, 4 * full)
    assert show_queue(queue)["expected_wait_s"] == round(4 * full, 1)
    release.set()
    await asyncio.gather(*tasks)
    assert queue.expected_wait_s == 0


async def test_waiting_ends_with_the_deadline() -> None:
    queue, release = queue_of(1, 1), asyncio.Event()
    task = asyncio.create_task(hold(queue, release))
    await let_run()
    with pytest.raises(BackendTimeout) as late:
        async with queue.slot(job(), 0.01):
            pass
    assert late.value.code == "queue_timeout"
    release.set()
    await task
    assert queue.idle


async def test_cancelling_leaks_no_slot() -> None:
    queue, release = queue_of(1, 4), asyncio.Event()
    tasks = [asyncio.create_task(hold(queue, release)) for _ in range(3)]
    await let_run()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert queue.idle
    async with queue.slot(job(), 0.1):
        assert queue.running == 1


async def test_draining_takes_nothing_new() -> None:
    queue = queue_of(1, 1)
    queue.drain()
    with pytest.raises(Overloaded, match="shutting down"):
        await hold(queue, asyncio.Event())


async def test_the_queue_is_served_in_order() -> None:
    queue, served = queue_of(1, 8), list[int]()

    async def take(number: int) -> None:
        async with queue.slot(job(), 5):
            served.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(take(number) for number in range(6)))
    assert served == list(range(6))
    assert queue.idle


async def test_a_slot_granted_to_someone_who_just_left_is_passed_on() -> None:
    queue, release = queue_of(1, 2), asyncio.Event()
    holder = asyncio.create_task(hold(queue, release))
    await let_run()
    leaver = asyncio.create_task(hold(queue, release))
    stayer = asyncio.create_task(hold(queue, release))
    await let_run()
    release.set()
    await holder  # the leaver's turn is granted now, and it is cancelled before it wakes
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    await stayer
    assert queue.idle


async def test_the_end_of_a_drain_refuses_those_who_wait() -> None:
    queue, release = queue_of(1, 2), asyncio.Event()
    holder = asyncio.create_task(hold(queue, release))
    waiter = asyncio.create_task(hold(queue, release))
    await let_run()
    queue.refuse_waiting()
    with pytest.raises(Overloaded, match="shutting down"):
        await waiter
    release.set()
    await holder
    assert queue.idle


class Held:
    """Requests that hold a slot until they are let go."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.running: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *names: str) -> None:
        """Those whose names begin with `b` are background requests."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks.append(asyncio.create_task(self._hold(name)))
        await let_run()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await let_run()

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hold(self, name: str) -> None:
        async with self._queue.slot(job(background=name.startswith("b")), 5):
            self.running.append(name)
            await self._ends[name].wait()
        self.running.remove(name)


async def test_background_requests_run_while_nothing_else_does() -> None:
    queue = queue_of(4, 4)
    held = Held(queue)
    await held.start("b1", "b2", "b3", "b4", "b5")
    assert held.running == ["b1", "b2", "b3", "b4"]
    await held.end("b1")
    assert held.running == ["b2", "b3", "b4", "b5"]
    assert queue.idle  # what a drain waits for
    await held.cancel()
    assert queue.running == 0


async def test_beside_others_only_one_of_them_begins() -> None:
    queue = queue_of(4, 4)
    held = Held(queue)
    await held.start("a1", "b1", "b2", "a2", "b3")
    assert held.running == ["a1", "b1", "a2"]
    await held.end("b1")
    assert held.running == ["a1", "a2", "b2"]
    await held.end("a1")
    assert held.running == ["a2", "b2"]
    await held.end("a2")
    assert held.running == ["b2", "b3"]
    await held.cancel()
    assert queue.running == 0


async def test_who_waits_goes_before_the_background() -> None:
    queue = queue_of(1, 4)
    held = Held(queue)
    await held.start("b1", "b2", "a1")
    await held.end("b1")
    assert held.running == ["a1"]
    await held.end("a1")
    assert held.running == ["b2"]
    await held.cancel()
    assert queue.running == 0


async def test_a_drain_refuses_what_waits_in_the_background() -> None:
    queue = queue_of(1, 4)
    held = Held(queue)
    await held.start("a1")
    waiting = asyncio.create_task(held._hold("b1"))
    held._ends["b1"] = asyncio.Event()
    await let_run()
    queue.drain()
    with pytest.raises(Overloaded, match="shutting down"):
        await waiting
    await held.cancel()


async def test_the_bound_of_a_user_leaves_room_for_others() -> None:
    queue, release = queue_of(1, 4, waiting_per_user=2), asyncio.Event()

    async def take(user: str) -> None:
        async with queue.slot(job(user), 5):
            await release.wait()

    tasks = [asyncio.create_task(take("a")) for _ in range(3)]
    await let_run()
    with pytest.raises(RateLimited) as own:
        await take("a")
    assert (own.value.status, own.value.code) == (429, "queue_limit_exceeded")
    assert 1 <= (own.value.retry_after_s or 0) <= 120
    tasks += [asyncio.create_task(take("b")) for _ in range(2)]
    await let_run()
    with pytest.raises(Overloaded) as whole:
        await take("c")
    assert (whole.value.status, whole.value.code) == (503, "overloaded")
    assert 1 <= (whole.value.retry_after_s or 0) <= 120
    release.set()
    await asyncio.gather(*tasks)
    assert queue.idle
    assert not queue.waiting


async def test_the_bytes_that_wait_are_bounded() -> None:
    queue, release = queue_of(1, waiting_bytes=1000), asyncio.Event()

    async def take(size: int) -> None:
        async with queue.slot(job(size=size), 5):
            await release.wait()

    tasks = [asyncio.create_task(take(5000)), asyncio.create_task(take(900))]
    await let_run()  # what runs does not count
    with pytest.raises(Overloaded, match="too many bytes"):
        await take(101)
    release.set()
    await asyncio.gather(*tasks)
    async with queue.slot(job(size=5000), 5):
        assert queue.running == 1


async def test_who_waits_knows_about_its_place() -> None:
    queue, release = queue_of(1), asyncio.Event()
    jobs = [job(user) for user in "aabbbb"]
    places: list[int] = []

    async def take(one: Job) -> None:
        async with queue.slot(one, 5, waits=lambda: places.append(1)):
            await release.wait()

    tasks = [asyncio.create_task(take(one)) for one in jobs]
    await let_run()
    assert len(places) == 5
    shown = [queue.place(one) for one in jobs]
    # its own first request is served second at the latest, as there are two users
    assert [place and place.position for place in shown] == [None, 2, 2, 4, 5, 5]
    assert all(place is None or place.wait_s > 0 for place in shown)
    release.set()
    await asyncio.gather(*tasks)
    assert [queue.place(one) for one in jobs] == [None] * 6


async def test_who_gives_up_leaves_nothing() -> None:
    queue, release = queue_of(1), asyncio.Event()
    holder = asyncio.create_task(hold(queue, release))
    await let_run()
    waiting = [job(f"u{number % 7}") for number in range(50)]

    async def take(one: Job) -> None:
        async with queue.slot(one, 5):
            pass

    tasks = [asyncio.create_task(take(one)) for one in waiting]
    await let_run()
    assert queue.waiting == 50
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    tree = queue.policy.first
    assert queue.waiting == 0
    assert [*tree] == []
    assert not queue._turns
    # it ran for none of them, so it charged none of them
    assert all(one.flow is not None and one.flow.attained == 0 for one in waiting)
    release.set()
    await holder
    assert queue.idle


async def test_as_many_run_as_upstreams_have_room_for() -> None:
    at_upstream, most = 0, 3
    queue, release = queue_of(100), asyncio.Event()
    queue.room = lambda _: most - at_upstream

    async def take(number: int) -> None:
        nonlocal at_upstream
        one = job(f"u{number}")
        async with queue.slot(one, 5):
            at_upstream += 1
            assert at_upstream <= most
            queue.placed(one)
            await release.wait()
            at_upstream -= 1
        queue.wake()

    tasks = [asyncio.create_task(take(number)) for number in range(9)]
    for _ in range(6):
        await let_run()
    assert (queue.running, queue.waiting) == (3, 6)
    release.set()
    await asyncio.gather(*tasks)
    assert queue.idle


async def test_all_free_places_are_taken_at_once() -> None:
    """A request that is on its way to its place does not hold up those for the other places."""
    queue, free, release = queue_of(100), 0, asyncio.Event()
    queue.room = lambda _: free
    tasks = [asyncio.create_task(hold(queue, release)) for _ in range(9)]
    await let_run()
    assert (queue.running, queue.waiting) == (0, 9)
    free = 3
    queue.wake()
    assert (queue.running, queue.waiting) == (3, 6)
    release.set()
    await asyncio.gather(*tasks)
    assert queue.idle


async def test_models_that_share_an_upstream_count_together_until_they_have_places() -> None:
    queue, free, release = queue_of(100), 0, asyncio.Event()
    queue.room = lambda _: free

    async def take(model: str) -> None:
        async with queue.slot(replace(job(), resource=model), 5):
            await release.wait()

    tasks = [asyncio.create_task(take(model)) for model in "aaaabb"]
    await let_run()
    free = 2
    queue.wake()
    # of b one may run: the free places may be those of another upstream
    assert queue.running <= 3
    release.set()
    await asyncio.gather(*tasks)
    assert queue.idle


async def test_metrics_show_how_fair_it_is() -> None:
    now_s = [10.0]
    queue = Queue(FairShare(1), clock=lambda: now_s[0])
    assert (jain_of(queue), longest_wait_s(queue), attained_of(queue)) == (1.0, 0.0, {})

    async def ask(group: str, user: str, number: int) -> None:
        one = Job(f"{user}/{number}", user, "m", 100, 1, group)
        async with queue.slot(one, 60):
            await asyncio.sleep(0)
        queue.settle(one, 100)

    pairs = [("g", "ada"), ("g", "bob")]
    tasks = [asyncio.create_task(ask(*pair, n)) for n in range(20) for pair in pairs]
    await let_run()
    now_s[0] = 14.0
    assert longest_wait_s(queue) == 4.0
    await asyncio.gather(*tasks[:20])
    assert jain_of(queue) > 0.95
    assert attained_of(queue)["g"] >= 1500
    await asyncio.gather(*tasks)
    assert longest_wait_s(queue) == 0.0
