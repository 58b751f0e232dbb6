"""Loads of several models at a time: whose ends are awaited, and which are reported as done."""

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pytest

from toolkit.progress import Step, silent
from toolkit.serve.loading import Stalled, load_all


def busy(_loaded: Collection[str]) -> float:
    """Seconds of CPU of processes that always compute."""
    return time.monotonic()


class Done:
    """The steps that ended without an error."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    @contextmanager
    def step(self, title: str, **_: object) -> Iterator[Step]:
        with silent.step(title) as step:
            yield step
        self.titles.append(title)


def test_strict_does_not_wait_for_the_others() -> None:
    loaded, never, done = threading.Event(), threading.Event(), Done()

    def load(model: str) -> str | None:
        match model:
            case "good":
                loaded.set()
            case "bad":
                assert loaded.wait(60)
                return "no such file"
            case _:
                never.wait(600)
        return None

    assert load_all(load, ["good", "bad", "slow"], done, busy, strict=True) == {
        "bad": "no such file"
    }
    never.set()
    assert "load slow" not in done.titles
    assert "load bad" not in done.titles
    assert "load models" not in done.titles


def test_all_others_are_loaded() -> None:
    failed, done = threading.Event(), Done()

    def load(model: str) -> str | None:
        if model == "bad":
            failed.set()
            return "no such file"
        assert failed.wait(60)
        return None

    assert load_all(load, ["good", "bad", "slow"], done, busy) == {"bad": "no such file"}
    assert {*done.titles} == {"load good", "load slow", "load models"}


def test_loads_that_do_nothing_end() -> None:
    """As Triton's Python backend does sometimes, when it starts processes side by side."""
    never = threading.Event()

    def load(model: str) -> str | None:
        if model != "good":
            never.wait(600)
        return None

    with pytest.raises(Stalled) as caught:
        load_all(load, ["good", "b", "a"], silent, lambda _: 7.0, stall_s=0.1)
    never.set()
    assert caught.value.models == ["a", "b"]
    assert "did not answer or compute for 0.1 s" in str(caught.value)


def test_a_slow_load_that_computes_is_awaited() -> None:
    """Also beside a loaded model that does not compute."""
    slow, asked = threading.Event(), []

    def load(model: str) -> str | None:
        if model == "slow":
            assert slow.wait(60)
        return None

    def work_s(loaded: Collection[str]) -> float:
        asked.append(sorted(loaded))
        if len(asked) == 4:
            slow.set()
        return float(len(asked))

    assert load_all(load, ["good", "slow"], silent, work_s, stall_s=0.1) == {}
    assert asked[-1] == ["good"]
