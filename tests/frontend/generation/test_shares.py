"""Several models share the requests for one name: by users, after hard constraints, while none of
them fails."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from frontend.domain.canaries import Canary
from frontend.domain.generation import Generation, Passage
from frontend.domain.identity import ANONYMOUS
from frontend.domain.models import Model
from frontend.errors import BackendFailed, InvalidRequest
from frontend.generation.path import Path
from frontend.generation.shares import Withdrawal
from frontend.scheduling.policy import FairShare
from frontend.scheduling.queue import Queue
from frontend.upstreams.health import FAILURES
from frontend.upstreams.need import NOTHING, Need
from tests.support.events import MODEL, event, no_images, structures
from tests.support.upstream import ScriptedUpstream, fleet_of, request

WHOLE = [[event("a", finish="stop")]]
OLD, NEW = replace(MODEL, name="old", aliases=()), replace(MODEL, name="new", aliases=())


def canary(*shares: tuple[str, float], **fields: Any) -> Canary:
    targets: list[dict[str, Any]] = [{"model": name, "percent": part} for name, part in shares]
    known: dict[str, Any] = {"sticky": "user", "max_error_percent": 10, "min_requests": 20}
    times = {"created_at_us": 1, "updated_at_us": 1}
    return Canary("id", "m", targets, **{**known, **times, **fields})


class Site:
    """`old` at one upstream and `new` at another one, which share the name `m`."""

    def __init__(self, *canaries: Canary, new: Model = NEW) -> None:
        self.old, self.new = ScriptedUpstream(WHOLE), ScriptedUpstream(WHOLE)
        self.old.served, self.new.served = [OLD], [new]
        self.fleet = fleet_of(self.old, self.new)
        self.path = Path(self.fleet, Queue(FairShare(64)), structures(), no_images())
        self.withdrawn: list[Withdrawal] = []
        self.path.shares.withdraw = self.withdrawn.append
        self.path.shares.follow(canaries)

    async def ready(self) -> "Site":
        for one in self.fleet.members:
            await one.registry.refresh()
        return self

    async def ask(
        self, user: str = "u", generation: Generation | None = None, *, whole: bool = True
    ) -> str:
        """The model that answered."""
        asked = request()
        asked = replace(asked, caller=replace(asked.caller, user=user))
        work = generation or Generation(Passage("x"))
        async with self.path.open(asked, "m", "completion") as run:
            work = await run.prepare(work, whole=whole)
            async for _ in run.generate(work):
                pass
            assert asked.outcome.model == run.model.name
            return run.model.name

    def spread(self, users: int, need: Need = NOTHING) -> Counter[str]:
        shares, asked = self.path.shares, request()
        rule = shares.find("m")
        assert rule is not None
        counted: Counter[str] = Counter()
        for number in range(users):
            one = replace(asked, caller=replace(asked.caller, user=f"user-{number}"))
            model = shares.choose(rule, one, "", need, None)
            assert model is not None
            counted[model.name] += 1
        return counted


async def test_each_target_gets_its_share_of_the_users() -> None:
    site = await Site(canary(("old", 95), ("new", 5))).ready()
    counted = site.spread(20_000)
    # five standard deviations of 20,000 draws of 5 %
    assert abs(counted["new"] / 20_000 - 0.05) < 0.0078
    assert counted == site.spread(20_000)  # each user stays


async def test_a_larger_share_takes_users_from_the_other_and_moves_nobody_back() -> None:
    site = await Site(canary(("old", 95), ("new", 5))).ready()
    few = {user async for user in _users_of(site, "new")}
    site.path.shares.follow([canary(("old", 70), ("new", 30), updated_at_us=2)])
    more = {user async for user in _users_of(site, "new")}
    assert few < more


async def _users_of(site: Site, model: str) -> Any:
    for number in range(60):
        if await site.ask(f"user-{number}") == model:
            yield number


async def test_a_model_that_cannot_serve_a_request_is_not_asked() -> None:
    small = replace(NEW, context_length=8)
    site = await Site(canary(("old", 0), ("new", 100)), new=small).ready()
    assert await site.ask() == "new"
    assert await site.ask("u", Generation(Passage("long " * 30))) == "old"
    member = site.fleet.member("b")
    assert member is not None
    member.draining = True
    assert await site.ask() == "old"
    member.draining, member.enabled = False, False
    assert await site.ask() == "old"


async def test_who_has_a_session_stays_by_session_where_that_is_asked_for() -> None:
    site = await Site(canary(("old", 50), ("new", 50), sticky="session")).ready()
    shares, asked = site.path.shares, request()
    rule = shares.find("m")
    assert rule is not None
    asked = replace(asked, caller=replace(asked.caller, user="u"))
    chosen = [shares.choose(rule, asked, f"s{n}", NOTHING, None) for n in range(40)]
    assert len({one.name for one in chosen if one is not None}) == 2
    alone = [shares.choose(rule, asked, "", NOTHING, None) for _ in range(5)]
    assert len({one.name for one in alone if one is not None}) == 1


async def test_callers_without_a_key_are_spread_by_request() -> None:
    site = await Site(canary(("old", 50), ("new", 50))).ready()
    shares, rule = site.path.shares, site.path.shares.find("m")
    assert rule is not None
    asked = [replace(request(), caller=ANONYMOUS, id=f"r{number}") for number in range(40)]
    chosen = [shares.choose(rule, one, "", NOTHING, None) for one in asked]
    assert len({one.name for one in chosen if one is not None}) == 2


async def test_a_target_that_fails_too_often_is_withdrawn_once() -> None:
    site = await Site(canary(("old", 0), ("new", 100), min_requests=4)).ready()
    for number in range(6):
        # never so often in a row that its breaker opens
        site.new.error = BackendFailed("no") if number % 2 else None
        if site.withdrawn:
            break
        await site.ask()
    (one,) = site.withdrawn
    assert (one.target, one.reason) == ("new", "2 of its last 4 requests failed")
    site.new.error = None
    assert await site.ask() == "old"
    assert site.path.shares.withdrawn == {"m": 1.0}
    # who changes the canary gives it another chance
    site.path.shares.follow([canary(("old", 0), ("new", 100), updated_at_us=2)])
    assert await site.ask() == "new"


async def test_a_target_whose_breaker_opens_is_withdrawn() -> None:
    site = await Site(canary(("old", 0), ("new", 100), min_requests=500)).ready()
    site.new.error = BackendFailed("no")
    for _ in range(FAILURES):
        assert await site.ask() == "old"
    assert [one.reason for one in site.withdrawn] == [
        "its circuit breaker opened, because requests failed one after the other"
    ]
    assert await site.ask() == "old"


@pytest.mark.parametrize("whole", [True, False])
async def test_what_a_target_fails_before_its_first_byte_the_stable_one_answers(
    whole: bool,
) -> None:
    site = await Site(canary(("old", 0), ("new", 100))).ready()
    site.new.groups, site.new.error = (), BackendFailed("no")
    assert await site.ask(whole=whole) == "old"
    rule = site.path.shares.find("m")
    assert rule is not None
    assert {name: rule.records[name].since(0)[:2] for name in ("old", "new")} == {
        "old": (1, 0), "new": (1, 1)
    }  # fmt: skip
    # by its own name it is asked alone
    async with site.path.open(request(), "new", "completion") as run:
        ready = await run.prepare(Generation(Passage("x")), whole=whole)
        with pytest.raises(BackendFailed):
            await anext(run.generate(ready))


async def test_a_part_of_an_answer_stays_that_of_the_target_that_failed() -> None:
    site = await Site(canary(("old", 0), ("new", 100))).ready()
    site.new.groups, site.new.error = [[event("a")]], BackendFailed("no")
    with pytest.raises(BackendFailed):
        await site.ask(whole=False)
    assert not site.old.started
    # nobody has seen a part of a whole answer
    assert await site.ask() == "old"


async def test_several_prompts_never_get_answers_of_two_models() -> None:
    site = await Site(canary(("old", 0), ("new", 100))).ready()
    site.new.error = BackendFailed("no")
    async with site.path.open(request(), "m", "completion") as run:
        works = await run.prepare_all([Generation(Passage(one)) for one in "xy"], whole=True)
        with pytest.raises(BackendFailed):
            await anext(run.generate_all(works))
    assert not site.old.started


async def test_a_stable_target_that_cannot_serve_the_request_does_not_get_it() -> None:
    site = await Site(canary(("old", 0), ("new", 100))).ready()
    site.new.error = BackendFailed("no")
    member = site.fleet.member("a")
    assert member is not None
    member.draining = True
    with pytest.raises(BackendFailed):
        await site.ask()
    assert not site.old.started


async def test_what_a_caller_did_wrong_does_not_count() -> None:
    site = await Site(canary(("old", 0), ("new", 100), min_requests=1)).ready()
    site.new.error = InvalidRequest("no")
    with pytest.raises(InvalidRequest):
        await site.ask()
    rule = site.path.shares.find("m")
    assert rule is not None
    assert rule.records["new"].since(0)[:2] == (0, 0)


async def test_gateways_that_see_a_part_of_the_failures_each_decide_by_the_sum() -> None:
    sites = [await Site(canary(("old", 90), ("new", 10))).ready() for _ in range(3)]
    for site in sites:
        for number in range(10):
            site.path.shares.saw("m", "new", failed=number % 4 == 0)
            site.path.shares.saw("m", "old", failed=False)
        assert not site.withdrawn, "10 requests of 20 that it takes"
    first, *others = (site.path.shares for site in sites)
    changed = [replace(one, revision_us=7) for one in others[0].results()]
    first.learn(changed)
    assert not sites[0].withdrawn, "the canary was changed since"
    first.learn(others[0].results())
    first.learn(others[0].results())
    (gone,) = sites[0].withdrawn
    assert (gone.target, gone.reason) == ("new", "6 of its last 20 requests failed")


async def test_first_tokens_are_averaged_over_the_answers_of_all_gateways() -> None:
    mine, other = [(await Site(canary(("old", 0), ("new", 100))).ready()).path.shares for _ in "ab"]
    for shares, times in ((mine, (0.1, None)), (other, (0.2, 0.6))):
        for first_token_s in times:
            shares.saw("m", "new", first_token_s, failed=False)
    (rule,) = mine.rules.values()
    assert mine.result(rule, "new").first_token_ms == 100.0
    mine.learn(other.results())
    assert mine.result(rule, "new").first_token_ms == 300.0
    assert mine.result(rule, "new").requests == 4
    assert mine.result(rule, "old").first_token_ms is None


async def test_what_fails_as_often_as_the_stable_one_by_the_sum_stays() -> None:
    site = await Site(canary(("old", 90), ("new", 10), min_requests=4)).ready()
    shares = site.path.shares
    for name in ("old", "new"):
        for number in range(3):
            shares.saw("m", name, failed=number == 0)
    shares.learn(shares.results())
    assert not site.withdrawn


async def test_the_stable_target_is_never_withdrawn_nor_one_that_fails_as_often() -> None:
    site = await Site(canary(("old", 50), ("new", 50), min_requests=1)).ready()
    shares = site.path.shares
    for _ in range(20):
        shares.saw("m", "old", failed=True)
    for _ in range(20):
        shares.saw("m", "new", failed=True)
    assert not site.withdrawn


async def test_a_new_name_is_listed_and_leads_to_the_stable_target() -> None:
    site = await Site(canary(("old", 100))).ready()
    assert [one.name for one in site.fleet.listed] == ["m", "new", "old"]
    assert (await site.fleet.find("m:latest")).name == "old"
    assert site.fleet.names["m"].name == "old"
