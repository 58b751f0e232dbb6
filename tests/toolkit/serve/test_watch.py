"""Measured work separates busy from dead, under a simulated clock."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.processes import wait_for
from toolkit.serve.watch import Timeouts, Watch, Work

TIMEOUTS = Timeouts(quiet_s=60, hung_s=900, interval_s=20)


@dataclass
class Scene:
    """The watched process: the test controls when it answers and how much it works."""

    time_s: float = 0.0
    work: Work = field(default_factory=Work)
    asked: int = 0
    answering: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        self.asked += 1
        self.answering.wait(10)

    def watch(self, timeouts: Timeouts = TIMEOUTS) -> Watch:
        return Watch(self.ask, lambda: self.work, timeouts, lambda: self.time_s)

    def check_for(self, watch: Watch, seconds: float, busy: float = 0.0) -> str | None:
        """Checks each second, while a share `busy` of a core is used; returns the first reason."""
        for _ in range(int(seconds)):
            self.time_s += 1
            self.work = Work(self.work.finished, self.work.cpu_s + busy)
            if reason := watch.check():
                return reason
        return None


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.answering.set()


def test_what_answers_is_asked_again_and_again(scene: Scene) -> None:
    scene.answering.set()
    watch = scene.watch()
    for count in range(1, 4):
        start_s = scene.time_s
        while scene.asked < count:
            assert scene.check_for(watch, 1) is None
        assert scene.time_s - start_s >= TIMEOUTS.interval_s - 1


def test_silence_without_work_is_death(scene: Scene) -> None:
    reason = scene.check_for(scene.watch(), 90)
    assert reason == "it did not answer or compute for 60 s"
    assert scene.time_s > 80


def test_idle_clocks_are_no_work(scene: Scene) -> None:
    assert scene.check_for(scene.watch(), 90, busy=0.02)


@pytest.mark.parametrize("busy", [0.04, 0.5, 2.0])
def test_silence_with_work_is_busy(scene: Scene, busy: float) -> None:
    assert scene.check_for(scene.watch(), 900, busy=busy) is None


def test_work_that_stops_is_death_after_the_same_patience(scene: Scene) -> None:
    watch = scene.watch()
    assert scene.check_for(watch, 600, busy=1.0) is None
    assert scene.check_for(watch, 58) is None
    assert scene.check_for(watch, 10)


def test_what_finishes_requests_is_busy_for_ever(scene: Scene) -> None:
    watch = scene.watch()
    for _ in range(20):
        assert scene.check_for(watch, 300, busy=1.0) is None
        scene.work = Work(scene.work.finished + 1, scene.work.cpu_s)


def test_work_without_an_end_is_given_up(scene: Scene) -> None:
    reason = scene.check_for(scene.watch(), 1000, busy=1.0)
    assert reason == "it computed for 900 s without finishing a request"


def test_work_without_an_end_may_be_allowed(scene: Scene) -> None:
    watch = scene.watch(Timeouts(quiet_s=60, hung_s=0, interval_s=20))
    assert scene.check_for(watch, 20_000, busy=1.0) is None


def test_time_that_nobody_watched_counts_for_nothing(scene: Scene) -> None:
    watch = scene.watch()
    assert scene.check_for(watch, 30) is None
    scene.time_s += 10_000  # stopped with Ctrl-Z, or a machine asleep
    assert watch.check() is None
    assert scene.check_for(watch, 40) is None


def test_a_question_that_fails_proves_nothing(scene: Scene) -> None:
    def ask() -> None:
        raise ValueError("the channel is closed")

    watch = Watch(ask, Work, TIMEOUTS, lambda: scene.time_s)
    scene.check_for(watch, 20)
    wait_for(lambda: watch._answer is not None and watch._answer.done())
    assert watch.check() is None
