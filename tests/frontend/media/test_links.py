"""Links: only those given out, only for their time, only as many as there is room for."""

import time

import pytest

from frontend.errors import InvalidRequest, NotFound
from frontend.media.links import Links
from frontend.store.database import Database
from frontend.store.files import FileStore


@pytest.fixture
def links(database: Database) -> Links:
    return Links(FileStore(database, 100), 60)


async def fetch(links: Links, link: str) -> bytes:
    name, _, query = link.partition("?")
    return (await links.get(name, query))[1]


async def test_a_link_leads_to_its_file(links: Links) -> None:
    first, second = await links.put(b"one", "png"), await links.put(b"two", "webp")
    assert (await fetch(links, first), await fetch(links, second)) == (b"one", b"two")
    assert (await links.get(*second.split("?")))[0] == b"image/webp"
    assert first.partition("?")[0] != second.partition("?")[0]


async def test_a_link_that_was_changed_leads_nowhere(links: Links) -> None:
    link = await links.put(b"one", "png")
    name, _, query = link.partition("?")
    expires, signature = query.split("&")
    other = (await links.put(b"two", "png")).rpartition("=")[2]
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
            await fetch(links, wrong)


async def test_a_link_ends(links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    link, now_ns = await links.put(b"one", "png"), time.time_ns()
    for seconds, over in ((58, False), (61, True)):
        later_ns = now_ns + seconds * 10**9
        monkeypatch.setattr(time, "time_ns", lambda later_ns=later_ns: later_ns)
        monkeypatch.setattr(time, "time", lambda later_ns=later_ns: later_ns / 1e9)
        if over:
            with pytest.raises(NotFound):
                await fetch(links, link)
        else:
            assert await fetch(links, link) == b"one"


async def test_the_newest_files_stay_within_the_bound(links: Links) -> None:
    made = [await links.put(b"x" * 30, "png") for _ in range(6)]
    assert [await fetch(links, link) for link in made[-3:]] == [b"x" * 30] * 3
    for link in made[:3]:
        with pytest.raises(NotFound):
            await fetch(links, link)


async def test_another_process_serves_it(links: Links) -> None:
    link = await links.put(b"one", "png")
    other = Database(links.files._database.location)
    assert await fetch(Links(FileStore(other, 100), 60), link) == b"one"
    await other.close()


async def test_what_never_fits_is_refused(links: Links) -> None:
    with pytest.raises(InvalidRequest, match="b64_json"):
        await links.put(b"x" * 101, "png")
