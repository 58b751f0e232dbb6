"""Makes the errors for limits that are reached, and limits the number of refused requests.

A refused request is free. But a caller who continues to send such requests is refused from memory
after a while, without reading the database.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from frontend.accounts.batch import NoCredits
from frontend.accounts.credits import CREDIT
from frontend.accounts.limits import Counter, Limit, Measure, Scope, left, reset_us, take
from frontend.accounts.quotas import Refusal
from frontend.accounts.windows import SECOND_US, Kind, iso, parse_window
from frontend.domain.metering import Owner
from frontend.errors import QuotaExceeded, RateLimited

_MINUTE = parse_window("minute")
_LONG_US = 120 * SECOND_US
_WORDS = {Scope.ORGANISATION: "your organisation", Scope.GROUP: "your group",
          Scope.USER: "your user", Scope.KEY: "this key"}  # fmt: skip
_BUSY_US = 2 * SECOND_US  # when a running request ends is not known


def refusal_of(refusal: Refusal | NoCredits, now_us: int) -> RateLimited:
    """The error for the client."""
    if isinstance(refusal, NoCredits):
        return _no_credits(refusal, now_us)
    limit, wait_us = refusal.limit, refusal.wait_us
    if limit.measure is Measure.CONCURRENCY:
        text = f"{subject_of(limit)} may have {limit.amount} requests running at a time"
        return RateLimited(f"{text}; wait until one of them ends", wait_us=_BUSY_US)
    amount = f"{limit.amount} {limit.measure} {_period(limit)}"
    if limit.is_budget:
        return QuotaExceeded(
            f"the token budget of {subject_of(limit)} is used up: {refusal.left} of {amount} are"
            f" left, and the request needs {refusal.needed}{_when(refusal)}",
            wait_us=wait_us,
        )
    text = f"the rate limit of {subject_of(limit)} is {amount}"
    if wait_us is None:
        text += f", and this request needs {refusal.needed}; send a smaller one"
        return RateLimited(text, wait_us=None)
    again = (
        iso(refusal.now_us + wait_us) if wait_us > _LONG_US else f"in {wait_us / SECOND_US:.1f} s"
    )
    when = "at " + again if wait_us > _LONG_US else again
    return RateLimited(f"{text}; try again {when}", wait_us=wait_us)


def _no_credits(refusal: NoCredits, now_us: int) -> QuotaExceeded:
    has, needs = refusal.available / CREDIT, refusal.needed / CREDIT
    return QuotaExceeded(
        f"the credits of {_WORDS[Scope(refusal.payer[0])]} are used up: {has:g} are left, and the"
        f" request costs {needs:g}; the plan grants new ones at {iso(refusal.reset_us)}",
        wait_us=refusal.reset_us - now_us,
    )


def subject_of(limit: Limit) -> str:
    """The subject of a limit, in words for its caller."""
    return _WORDS[limit.scope] + (f" for the model '{limit.model}'" if limit.model else "")


def _period(limit: Limit) -> str:
    return "in all" if limit.window.kind is Kind.NONE else f"per {limit.window.name}"


def _when(refusal: Refusal) -> str:
    """When the budget is enough again, or else when it is whole."""
    wait_us, text = refusal.wait_us, ""
    if wait_us is None:
        wait_us, text = refusal.reset_us, ", which is more than the whole budget"
    return f"{text}; it resets at {iso(refusal.now_us + wait_us)}" if wait_us else text


@dataclass(slots=True)
class Refused:
    """Counts how often each caller was refused in the last minute; `most` read the database."""

    most: int
    callers: int = 20_000
    _counters: OrderedDict[Owner, Counter] = field(default_factory=OrderedDict)

    def check(self, owner: Owner, now_us: int) -> None:
        """Raises RateLimited for a caller that was refused too often."""
        if (counter := self._counters.get(owner)) is None:
            return
        limit = self._limit(owner)
        if left(limit, counter, now_us) < 1:
            raise RateLimited(
                f"more than {self.most} requests were refused within a minute; wait and try again",
                wait_us=reset_us(limit, counter, now_us, 1),
            )

    def add(self, owner: Owner, now_us: int) -> None:
        """Counts a refusal. The callers that were refused longest ago are forgotten."""
        counter = self._counters.setdefault(owner, Counter())
        self._counters.move_to_end(owner)
        take(self._limit(owner), counter, 1, now_us)
        if len(self._counters) > self.callers:
            self._counters.popitem(last=False)

    def _limit(self, owner: Owner) -> Limit:
        return Limit(Scope.KEY, owner.key, Measure.REQUESTS, _MINUTE, self.most)
