"""The audit's tables on both databases: searches with every mix of filters, and removal."""

import itertools
from dataclasses import replace

import pytest

from frontend.domain.audit import AuditContent, AuditRecord
from frontend.store.audit import AuditFilter, AuditStore, facets_of, first_id, words_of
from frontend.store.database import Database
from tests.support.audits import EVER, START_US, record


def content(one: AuditRecord, text: str) -> AuditContent:
    words = " ".join([*facets_of(one), *words_of(text)])
    return AuditContent(f'"{text}"', "null", words, (("a" * 64, "image/png", 3),))


def rows() -> list[AuditRecord]:
    mixes = itertools.product("ab", "xyz", (200, 404, 429, 200, 500))
    return [record(number, *mix) for number, mix in enumerate(mixes)]


async def filled(database: Database) -> tuple[AuditStore, list[AuditRecord]]:
    store, records = AuditStore(database), rows()
    entries = [(one, content(one, f"Grüße to {one.model} No.{one.prompt_tokens}")
                if one.level == "full" else None) for one in records]  # fmt: skip
    await store.add(entries)
    await store.add(entries)  # as after a lost connection
    return store, records


@pytest.mark.parametrize(("probed", "walked"), [(1, 1), (20_000, 2), (20_000, 100)])
async def test_every_mix_of_filters_finds_what_a_scan_finds(
    database: Database, monkeypatch: pytest.MonkeyPatch, probed: int, walked: int
) -> None:
    monkeypatch.setattr("frontend.store.audit.search._PROBED", probed)
    monkeypatch.setattr("frontend.store.audit.search._WALKED", walked)
    store, records = await filled(database)
    for user, group, model, statuses, has_words in itertools.product(
        (None, "a", "nobody"), (None, "gb"), (None, "y"), ((), (404,), (200, 500)), (False, True)
    ):
        words = ("grüße", "n*") if has_words else ()
        chosen = AuditFilter(
            START_US + 2_000_000, START_US + 25_000_000, user, group, model, statuses, words=words
        )
        expected = [
            one
            for one in reversed(records[2:25])
            if user in (None, one.user_id)
            and group in (None, one.group_id)
            and model in (None, one.model)
            and (not statuses or one.status in statuses)
            and (not has_words or one.level == "full")
        ]
        found: list[AuditRecord] = []
        while page := await store.search(chosen, found[-1].id if found else None, 4):
            found += page
        assert found == expected, chosen


async def test_a_request_is_found_by_its_id(database: Database) -> None:
    store, records = await filled(database)
    chosen = AuditFilter(0, EVER, request_id="r3")
    assert await store.search(chosen, None, 9) == [records[3]]
    assert await store.search(replace(chosen, user_id="nobody"), None, 9) == []
    assert await store.search(replace(chosen, statuses=(500,)), None, 9) == []


@pytest.mark.parametrize(
    "words", [("near",), ("and",), ("or",), ("not",), ("x" * 64,), ("é",), ("日本",)]
)
async def test_words_are_never_operators(database: Database, words: tuple[str, ...]) -> None:
    store, records = await filled(database)
    one = replace(records[0], id=first_id(START_US + 900_000_000), level="full")
    await store.add([(one, content(one, f"NEAR and or NOT {'x' * 70} É 日本"))])
    assert await store.search(AuditFilter(0, EVER, words=words), None, 9) == [one]


async def test_what_is_removed_is_gone_from_every_table(database: Database) -> None:
    store, records = await filled(database)
    assert await store.groups() == ["ga", "gb"]
    removed = await store.remove("ga", first_id(START_US + 10_000_000), 4)
    assert removed.records == tuple(records[:4])
    assert (removed.contents, removed.artifacts) == (2, ())
    removed = await store.remove("ga", first_id(EVER), 500)
    assert len(removed.records) == 11
    assert removed.artifacts == ()  # the other group's records still refer to it
    removed = await store.remove("gb", first_id(EVER), 500)
    assert removed.artifacts == (("a" * 64, 3),)
    await store.forget()
    assert await store.groups() == []
    assert await store.search(AuditFilter(0, EVER, words=("grüße",)), None, 9) == []
    if database.location.is_sqlite:
        await database.close()
        assert "Grüße to".encode() not in database.location.file.read_bytes()


def test_huge_texts_have_a_bounded_index() -> None:
    words = words_of(" ".join(f"w{n}" for n in range(200_000)))
    assert sum(map(len, words)) + len(words) <= 256 * 1024
