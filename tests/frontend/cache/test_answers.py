"""The cache as its policy, its store and a request let it work."""

from frontend.cache.answers import AnswerCache, Slot
from frontend.cache.memory import MemoryEntries
from frontend.domain.caching import NOT_ASKED, CacheAsk, CachePolicy, CacheRule
from frontend.domain.generation import Generation, Passage
from frontend.domain.identity import Caller, Role
from frontend.domain.sampling import Sampling
from frontend.errors import StoreUnavailable

MODEL = ("m", "revision")
FIXED = Generation(Passage("x"), Sampling(temperature=0))
CHANCE = Generation(Passage("x"))
ANN = Caller("ann", "ann", Role("student", 1, frozenset()), key="k", group="g")


class Broken(MemoryEntries):
    """A store that is away."""

    asked = 0

    async def get(self, owner: str, model: str, key: bytes) -> bytes | None:
        self.asked += 1
        raise StoreUnavailable("away")


def cache(**policy: object) -> AnswerCache:
    return AnswerCache(MemoryEntries(2**20), CachePolicy(**policy))  # type: ignore[arg-type]


def slot(kept: AnswerCache, ask: CacheAsk = NOT_ASKED, work: Generation = FIXED) -> Slot | None:
    return kept.slot(ANN, ask, MODEL, work)


def test_modes_say_who_uses_the_cache() -> None:
    ask = CacheAsk(use=True)
    uses = {
        mode: [
            slot(cache(mode=mode), asked, work) is not None
            for asked in (NOT_ASKED, ask)
            for work in (FIXED, CHANCE)
        ]
        for mode in ("off", "asked", "deterministic")
    }
    assert uses == {
        "off": [False] * 4,
        "asked": [False, False, True, True],
        "deterministic": [True, False, True, True],
    }
    assert slot(cache(mode="deterministic"), CacheAsk(read=False, store=False)) is None


def test_a_group_has_its_own_rule_where_it_has_one() -> None:
    kept = cache(mode="deterministic", ttl_s=60)
    rule = CacheRule(scope="group", price=0.5)
    kept.rules = {"g": kept.policy.with_rule(rule)}
    found = slot(kept)
    assert found is not None
    assert (found.owner, found.price, found.ttl_s) == ("group:g", 0.5, 60)


def test_a_request_may_shorten_how_long_its_answer_is_kept() -> None:
    kept = cache(mode="deterministic", ttl_s=60)
    lifetimes = []
    for ttl_s in (10, 600):
        found = slot(kept, CacheAsk(ttl_s=ttl_s))
        assert found is not None
        lifetimes.append(found.ttl_s)
    assert lifetimes == [10, 60]


async def test_what_was_kept_is_found_unless_it_is_too_old_or_too_large() -> None:
    kept = cache(mode="deterministic")
    fresh, old = slot(kept), slot(kept, CacheAsk(max_age_s=0))
    assert fresh is not None
    assert old is not None
    await kept.put(fresh, b"answer")
    assert await kept.get(fresh) == b"answer"
    assert await kept.get(old) is None
    kept.max_entry_bytes = 3
    other = kept.slot(ANN, NOT_ASKED, ("m", "another revision"), FIXED)
    assert other is not None
    await kept.put(other, b"answer")
    assert await kept.get(other) is None
    assert (kept.figures.stored, kept.figures.too_large) == (1, 1)


async def test_a_store_that_is_away_fails_no_request_and_is_left_alone_for_a_while() -> None:
    kept = cache(mode="deterministic")
    kept.entries = broken = Broken(2**20)
    found = slot(kept)
    assert found is not None
    for _ in range(3):
        assert await kept.get(found) is None
    await kept.put(found, b"answer")
    assert (broken.asked, await broken.count(), kept.figures.failures) == (1, 0, 1)
