"""Entries: what comes back is what was kept, and nothing else is read."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from frontend.cache.entries import (
    Sealer,
    join_groups,
    read_events,
    read_images,
    read_scores,
    read_vectors,
    write_group,
    write_images,
    write_scores,
    write_vectors,
)
from frontend.cache.memory import MemoryEntries
from frontend.domain.events import Event
from frontend.domain.images import ImageResult
from frontend.domain.vectors import Scores, Vectors

KEY = b"k" * 32
EVENTS = st.builds(
    Event,
    index=st.integers(0, 3),
    text=st.text(),
    token_ids=st.lists(st.integers(0, 2**31), max_size=3),
    finish_reason=st.sampled_from([None, "stop", "length", "tool_calls"]),
    stop_reason=st.sampled_from([None, "\n", 7]),
    prompt_tokens=st.integers(0, 9),
    cached_tokens=st.integers(0, 9),
    completion_tokens=st.integers(0, 9),
    logprobs=st.sampled_from([None, [{"token": "a", "logprob": -0.5}]]),
    reasoning=st.sampled_from([None, "so"]),
    tool_calls=st.sampled_from([None, [{"index": 0, "name": "f", "arguments": "{}"}]]),
    reasoning_tokens=st.integers(0, 2),
    unread=st.sampled_from(["", "<x>"]),
    partial_call=st.booleans(),
)


@given(st.lists(st.lists(EVENTS, min_size=1, max_size=3), min_size=1, max_size=4))
def test_events_come_back_in_their_groups(groups: list[list[Event]]) -> None:
    back = read_events(join_groups(map(write_group, groups)))
    assert back == groups


def test_vectors_and_scores_come_back() -> None:
    vectors = Vectors(np.arange(6, dtype="<f4").tobytes(), 2, 3, 5)
    assert read_vectors(write_vectors(vectors)) == vectors
    scores = Scores([0.25, 1.0], 9)
    assert read_scores(write_scores(scores)) == scores


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=4), st.integers(0, 9))
def test_images_come_back_and_damaged_ones_do_not(files: list[bytes], tokens: int) -> None:
    images = ImageResult(files, tokens)
    content = write_images(images)
    assert read_images(content) == images
    assert read_images(content + b"x") is None
    assert read_images(b"v" + content[1:]) is None


@given(st.binary(max_size=60))
def test_what_nobody_wrote_is_no_answer(content: bytes) -> None:
    assert Sealer().open(KEY, content) is None
    for read in (read_events, read_vectors, read_scores, read_images):
        read(content)  # whatever it says, it does not raise


def test_damaged_forged_and_moved_entries_are_not_opened() -> None:
    plain, signed = Sealer(), Sealer(b"secret")
    entry = signed.seal(KEY, b"content", 5)
    assert signed.open(KEY, entry) == (b"content", 5)
    for place in range(len(entry)):
        changed = entry[:place] + bytes([entry[place] ^ 1]) + entry[place + 1 :]
        assert signed.open(KEY, changed) is None
    assert signed.open(b"x" * 32, entry) is None, "another request's"
    assert signed.open(KEY, plain.seal(KEY, b"content", 5)) is None, "made without the secret"
    assert signed.open(KEY, entry[:-1]) is None


def test_one_kind_is_not_read_as_another() -> None:
    vectors = write_vectors(Vectors(b"", 0, 3, 5))
    assert read_events(vectors) is None
    assert read_scores(vectors) is None
    assert read_events(b"e[[[0,1]]]") is None
    assert read_events(b"e[]") is None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_memory_forgets_the_least_recently_used_and_the_old() -> None:
    clock = Clock()
    kept = MemoryEntries(3 * (256 + 100), clock)
    for name in (b"a", b"b", b"c"):
        await kept.put("o", "m", name, bytes(100), 60)
    assert await kept.get("o", "m", b"a") is not None
    await kept.put("o", "m", b"d", bytes(100), 60)
    present = [name for name in (b"a", b"b", b"c", b"d") if await kept.get("o", "m", name)]
    assert (present, kept.evictions, await kept.count()) == ([b"a", b"c", b"d"], 1, 3)
    assert kept.size_bytes <= kept.max_bytes
    await kept.put("o", "m", b"huge", bytes(10_000), 60)
    assert await kept.count() == 3
    clock.now = 60
    assert await kept.get("o", "m", b"a") is None
    assert await kept.get("other", "m", b"c") is None


async def test_a_purge_takes_an_owner_a_model_or_everything() -> None:
    kept = MemoryEntries(2**20)
    for owner in ("u1", "u2"):
        for model in ("m1", "m2"):
            await kept.put(owner, model, b"k", b"x", 60)
    assert await kept.purge("u1", "m1") == 1
    assert await kept.purge(model="m2") == 2
    assert await kept.purge() == 1
    assert (kept.size_bytes, await kept.count()) == (0, 0)
