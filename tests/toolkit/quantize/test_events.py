"""The percentage of a quantization grows in all passes over the model."""

import pytest

from toolkit.quantize.events import Job, Passes, Step


def shares(passes: int, parts: list[int]) -> list[float]:
    """The share that is done after each message of a worker whose passes have those parts."""
    sent: list[Job] = []
    counted = Passes(Step(sent.append, 0), passes)
    for number in parts:
        counted.begin(number)
        for _ in range(number):
            counted.advance()
    counted.advance()  # of a modifier that does not read text: the library does not announce it
    total, done, seen = 0.0, 0.0, []
    for event in sent:
        total, done = event.get("total", total), done + event.get("advance", 0)
        seen.append(done / total)
    return seen


@pytest.mark.parametrize(("passes", "parts"), [(1, [31]), (2, [31, 31]), (3, [2, 2, 2])])
def test_the_percentage_never_goes_back_and_ends_at_all(passes: int, parts: list[int]) -> None:
    seen = shares(passes, parts)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_a_pass_that_nobody_announced_is_counted() -> None:
    assert shares(1, [4, 4])[-1] == 1
