"""Loads of several models at a time: whose ends are awaited, and which are reported as done."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from toolkit.progress import Step, silent
from toolkit.serve.loading import load_all


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

    assert load_all(load, ["good", "bad", "slow"], done, strict=True) == {"bad": "no such file"}
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

    assert load_all(load, ["good", "bad", "slow"], done) == {"bad": "no such file"}
    assert {*done.titles} == {"load good", "load slow", "load models"}
