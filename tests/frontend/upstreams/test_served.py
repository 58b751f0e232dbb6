"""Names lead to the models of the last poll; models that were ready before stay known."""

import itertools
from dataclasses import replace

import pytest

from frontend.upstreams.served import Served
from tests.support.events import MODEL

LARGE = replace(MODEL, name="large", aliases=("big",), patterns=("gpt-*",))


def test_a_model_that_is_gone_is_known_by_all_its_names() -> None:
    served = Served({"mine": "big"})
    assert served.find_known(["large"]) is None
    served.learn([LARGE])
    assert sorted(served.names) == ["big", "large", "mine"]
    served.learn([])
    assert served.names == {}
    assert served.absent([]) == ["large"]
    assert served.match(["mine"]) is None
    assert [served.own_name(name) for name in ("mine", "big", "other")] == [
        "large",
        "large",
        "other",
    ]
    assert served.find_known(["other", "gpt-4"]) == "gpt-4"
    assert served.find_known(["gpt-4"], by_pattern=False) is None


def test_the_first_time_that_a_model_is_seen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served({})
    monkeypatch.setattr("frontend.upstreams.served.time.time", itertools.count(7).__next__)
    served.learn([LARGE])
    served.learn([])
    served.learn([LARGE])
    assert served.ready["large"].created_s == 7
