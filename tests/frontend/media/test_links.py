"""Links: only those given out, only for their time, only as many as there is room for."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.errors import InvalidRequest, NotFound
from frontend.media.links import Links


def fetch(links: Links, link: str) -> bytes:
    name, _, query = link.partition("?")
    return links.get(name, query)[1]


def test_a_link_leads_to_its_file() -> None:
    links = Links(100, 60)
    first, second = links.put(b"one", "png"), links.put(b"two", "webp")
    assert (fetch(links, first), fetch(links, second)) == (b"one", b"two")
    assert links.get(*second.split("?"))[0] == b"image/webp"
    assert first.partition("?")[0] != second.partition("?")[0]


def test_a_link_that_was_changed_leads_nowhere() -> None:
    links = Links(100, 60)
    link = links.put(b"one", "png")
    name, _, query = link.partition("?")
    expires, signature = query.split("&")
    other = Links(100, 60).put(b"one", "png").rpartition("=")[2]
    for wrong in (
        f"{name}?{expires}",
        f"{name}?{expires}&signature={other}",
        f"{name}?{expires}0&{signature}",
        f"{name}?{signature}",
        f"{name}?{expires}&signature=é",
        f"x{name}?{query}",
        "?",
    ):
        with pytest.raises(NotFound):
            fetch(links, wrong)


def test_a_link_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    links = Links(100, 60)
    link, now_s = links.put(b"one", "png"), time.time()
    monkeypatch.setattr(time, "time", lambda: now_s + 58)
    assert fetch(links, link) == b"one"
    monkeypatch.setattr(time, "time", lambda: now_s + 61)
    with pytest.raises(NotFound):
        fetch(links, link)


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_the_newest_files_stay_within_the_bound(files: list[bytes]) -> None:
    links = Links(100, 60)
    made = [links.put(file, "png") for file in files]
    kept, size = [], 0
    for file in reversed(files):
        size += len(file)
        if size > 100:
            break
        kept.append(file)
    newest = list(zip(reversed(made), reversed(files), strict=True))[: len(kept)]
    assert [fetch(links, link) for link, _ in newest] == [file for _, file in newest]
    if len(kept) < len(files):
        with pytest.raises(NotFound):
            fetch(links, made[0])


def test_what_never_fits_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="b64_json"):
        Links(2, 60).put(b"one", "png")
