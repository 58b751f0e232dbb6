"""The audit's tables on both databases: searches with every mix of filters, and removal."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.domain.audit import AuditContent, AuditRecord
from frontend.store.audit import AuditFilter, AuditStore, facets_of, first_id, words_of
from frontend.store.audit.blocks import SHIFTS, groups_of, parts_of
from frontend.store.database import Database
from tests.support.audits import EVER, START_US, record


def content(one: AuditRecord, text: str) -> AuditContent:
    words = " ".join([*facets_of(one), *words_of(text)])
    return AuditContent(f'"{text}"', "null", words, (("a" * 64, "image/png", 3),))


def rows(step_us: int) -> list[AuditRecord]:
    mixes = itertools.product("ab", "xyz", (200, 404, 429, 200, 500))
    return [
        replace(record(number, *mix), id=first_id(START_US + number * step_us) + 7)
        for number, mix in enumerate(mixes)
    ]


async def filled(
    database: Database, step_us: int = 1_000_000
) -> tuple[AuditStore, list[AuditRecord]]:
    store, records = AuditStore(database), rows(step_us)
    entries = [(one, content(one, f"Grüße to {one.model} No.{one.prompt_tokens}")
                if one.level == "full" else None) for one in records]  # fmt: skip
    await store.add(entries)
    await store.add(entries)  # as after a lost connection
    return store, records


@pytest.mark.parametrize(
    ("probed", "walked", "most", "step_us"),
    [
        (1, 1, 1, 1_000_000),
        (20_000, 2, 3, 40_000_000_000),  # half a day: most levels of blocks have some of them
        (20_000, 100, 5000, 600_000_000_000),
    ],
)
async def test_every_mix_of_filters_finds_what_a_scan_finds(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    probed: int,
    walked: int,
    most: int,
    step_us: int,
) -> None:
    monkeypatch.setattr("frontend.store.audit.search._PROBED", probed)
    monkeypatch.setattr("frontend.store.audit.postgres._WALKED", walked)
    monkeypatch.setattr("frontend.store.audit.postgres._WALKED_TEXTS", walked)
    monkeypatch.setattr("frontend.store.audit.postgres._MOST", most)
    monkeypatch.setattr("frontend.store.audit.search._NEWEST", walked)
    # every text has a word that begins so; with more than all of them, no beginning is frequent
    monkeypatch.setattr("frontend.store.audit.search._FREQUENT", 2.0 if walked == 1 else 0.05)
    store, records = await filled(database, step_us)
    for user, group, model, statuses, words in itertools.product(
        (None, "a", "nobody"), (None, "gb"), (None, "y"), ((), (404,), (200, 500)),
        ((), ("grüße", "n*"), ("n*",)),
    ):  # fmt: skip
        chosen = AuditFilter(
            START_US + 2 * step_us, START_US + 25 * step_us, user, group, model, statuses,
            words=words,
        )  # fmt: skip
        expected = [
            one
            for one in reversed(records[2:25])
            if user in (None, one.user_id)
            and group in (None, one.group_id)
            and model in (None, one.model)
            and (not statuses or one.status in statuses)
            and (not words or one.level == "full")
        ]
        found: list[AuditRecord] = []
        while page := await store.search(chosen, found[-1].id if found else None, 4):
            found += page
        assert found == expected, chosen


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_blocks_cover_a_time_once_and_the_newest_are_small(low: int, high: int) -> None:
    end = high
    for step, (level, numbers) in enumerate(groups_of(low, high)):
        assert 1 <= len(numbers) <= 16
        assert level == min(step, 3)
        assert (numbers[-1] + 1) << SHIFTS[level] >= end > numbers[-1] << SHIFTS[level]
        end = numbers[0] << SHIFTS[level]
        if step > 40:
            return
    assert end <= low or low >= high


def test_the_parts_of_a_block_are_all_of_it() -> None:
    parts = parts_of(2, 77)
    assert parts[0] << SHIFTS[1] == 77 << SHIFTS[2]
    assert (parts[-1] + 1) << SHIFTS[1] == 78 << SHIFTS[2]


async def test_a_request_is_found_by_its_id(database: Database) -> None:
    store, records = await filled(database)
    chosen = AuditFilter(0, EVER, request_id="r3")
    assert await store.search(chosen, None, 9) == [records[3]]
    assert await store.search(replace(chosen, user_id="nobody"), None, 9) == []
    assert await store.search(replace(chosen, statuses=(500,)), None, 9) == []
    assert await store.search(replace(chosen, words=("grüße", "no*")), None, 9) == [records[3]]
    assert await store.search(replace(chosen, words=("grüße", "never")), None, 9) == []


async def test_a_request_is_found_by_the_id_of_its_client(database: Database) -> None:
    store, records = await filled(database)
    named = [
        replace(records[n], id=records[n].id + 1, request_id=f"own{n}", client_id="theirs")
        for n in (3, 4, 5)
    ]
    # another client's id may be an id of the gateway's own
    named.append(replace(records[6], id=records[6].id + 1, request_id="own6", client_id="r3"))
    await store.add([(one, content(one, f"Grüße {one.id}")) for one in named])
    chosen = AuditFilter(0, EVER, request_id="theirs")
    assert await store.search(chosen, None, 9) == named[2::-1]
    assert await store.search(chosen, named[2].id, 1) == [named[1]]
    assert await store.search(replace(chosen, statuses=(named[1].status,)), None, 9) == [
        one for one in named[2::-1] if one.status == named[1].status
    ]
    words = ("grüße", str(named[1].id))
    assert await store.search(replace(chosen, words=words), None, 9) == [named[1]]
    either = await store.search(replace(chosen, request_id="r3"), None, 9)
    assert either == [named[3], records[3]]
    # those without one are not all found by an empty id
    assert await store.search(replace(chosen, request_id=""), None, 9) == []


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
