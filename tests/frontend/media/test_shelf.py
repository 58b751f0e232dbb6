"""Links: only those given out, only for their time, only as many as there is room for."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.errors import InvalidRequest, NotFound
from frontend.media.shelf import Shelf


def fetch(shelf: Shelf, link: str) -> bytes:
    name, _, query = link.partition("?")
    return shelf.get(name, query)[1]


def test_a_link_leads_to_its_file() -> None:
    shelf = Shelf(100, 60)
    first, second = shelf.put(b"one", "png"), shelf.put(b"two", "webp")
    assert (fetch(shelf, first), fetch(shelf, second)) == (b"one", b"two")
    assert shelf.get(*second.split("?"))[0] == b"image/webp"
    assert first.partition("?")[0] != second.partition("?")[0]


def test_a_link_that_was_changed_leads_nowhere() -> None:
    shelf = Shelf(100, 60)
    link = shelf.put(b"one", "png")
    name, _, query = link.partition("?")
    expires, signature = query.split("&")
    other = Shelf(100, 60).put(b"one", "png").rpartition("=")[2]
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
            fetch(shelf, wrong)


def test_a_link_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(100, 60)
    link, now_s = shelf.put(b"one", "png"), time.time()
    monkeypatch.setattr(time, "time", lambda: now_s + 58)
    assert fetch(shelf, link) == b"one"
    monkeypatch.setattr(time, "time", lambda: now_s + 61)
    with pytest.raises(NotFound):
        fetch(shelf, link)


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_the_newest_files_stay_within_the_bound(files: list[bytes]) -> None:
    shelf = Shelf(100, 60)
    links = [shelf.put(file, "png") for file in files]
    kept, size = [], 0
    for file in reversed(files):
        size += len(file)
        if size > 100:
            break
        kept.append(file)
    newest = list(zip(reversed(links), reversed(files), strict=True))[: len(kept)]
    assert [fetch(shelf, link) for link, _ in newest] == [file for _, file in newest]
    if len(kept) < len(files):
        with pytest.raises(NotFound):
            fetch(shelf, links[0])


def test_what_never_fits_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="b64_json"):
        Shelf(2, 60).put(b"one", "png")
