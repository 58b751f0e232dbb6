"""The reservations of a running request, in memory and as rows of the store.

A request has one row for its first reservation, by which it is charged, and one for each later one.
The gateway that removes a row from the store settles it, so each is settled once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from frontend.accounts.limits import Limit, Measure, Scope
from frontend.accounts.quotas import Holds
from frontend.accounts.windows import parse_window
from frontend.domain.metering import Owner, UsageRow
from frontend.domain.usage import Usage
from frontend.store.ledger.reservations import ReservationRow

_FAILED = "~"


@dataclass(slots=True, eq=False)
class Hold:
    """One request. `row` is its charge; `parts` are its reservations by row id."""

    row: UsageRow
    deadline_us: int
    parts: dict[str, Holds] = field(default_factory=dict)
    payer: tuple[str, str] | None = None
    credits: int = 0
    promised: int = 0
    """Credits that were granted from memory and are not taken from its payer's balance yet."""
    started: bool = False
    """Whether a model has seen it. One that never started costs nothing."""
    produced: int = 0
    """Tokens so far, for knowing when to write them down."""
    flushed: int = 0
    flushed_us: int = 0
    is_offline: bool = False
    """Granted from what was last known, while the database was away."""
    is_unwritten: bool = False
    """No counter in the store has its reservation: it is charged without one."""
    queued: list[Any] = field(default_factory=list)
    """Its reservations that wait for their transaction."""
    taken: dict[str, Holds] = field(default_factory=dict)
    """Of its reservations, what counts as taken in memory until a transaction has it."""
    lowered: tuple[Limit, int] | None = None
    """The budget that had less left than the request may need, and what it had."""
    is_counted: bool = False
    """Whether it counts as a request already: more tokens do not count again."""
    shared: list[str] = field(default_factory=list)
    """Ids of what it has of the limits in Redis."""
    failed: int = 0
    """How often the transaction of its first reservation failed. Such a one may be in the database
    until it is given back, so that the next one has another id."""
    is_settled: bool = False
    is_charged: bool = False

    @property
    def next_id(self) -> str:
        """The id of its next reservation."""
        return f"{self.first_id}+{len(self.parts)}" if self.parts else self.first_id

    @property
    def first_id(self) -> str:
        """The id of the reservation that it is charged by."""
        request_id = self.row.request_id
        return f"{request_id}{_FAILED}{self.failed}" if self.failed else request_id

    @property
    def tokens(self) -> int:
        """The tokens that it is charged."""
        return self.row.usage.prompt_tokens + self.row.usage.completion_tokens

    @property
    def cost(self) -> int:
        """The credits that it is charged; a failure without tokens is free."""
        # credits are for an answer: an engine that failed first has not given any
        return self.credits if self.tokens or self.row.images else 0


def reservation_row(
    hold: Hold, request_id: str, holds: Holds, gateway_id: str, now_us: int
) -> ReservationRow:
    """The row of a reservation; the first one has what a sweeper needs to charge the request."""
    row, is_first = hold.row, request_id == hold.first_id
    tokens = max((n for limit, n in holds if limit.measure is Measure.TOKENS), default=0)
    details: dict[str, Any] = {"holds": [list_of(limit, amount) for limit, amount in holds]}
    if is_first:
        details |= {"dialect": row.dialect, "endpoint": row.endpoint, "upstream": row.upstream}
        details |= {"started_us": row.started_us, "payer": hold.payer}
    return ReservationRow(
        request_id,
        gateway_id,
        (row.owner.organisation, row.owner.group, row.owner.user, row.owner.key),
        row.model,
        tokens,
        hold.credits if is_first else 0,
        now_us,
        hold.deadline_us,
        details,
    )


def hold_of(row: ReservationRow, now_us: int) -> Hold:
    """An abandoned reservation as a request that ends now, at the counts that were written last."""
    details = row.details
    usage = Usage(row.prompt_tokens, completion_tokens=row.completion_tokens)
    started_us = details.get("started_us", row.created_at_us)
    request_id, failed = failed_of(row.request_id)
    charged = UsageRow(
        request_id,
        Owner(*row.owner),
        row.model,
        details.get("dialect", ""),
        details.get("endpoint", ""),
        details.get("upstream", ""),
        started_us,
        status=500,
        usage=usage,
        duration_us=max(now_us - started_us, 0),
        estimated=True,
    )
    payer = details.get("payer")
    return Hold(
        charged,
        row.expires_at_us,
        {row.request_id: tuple(map(limit_of, details["holds"]))},
        (payer[0], payer[1]) if payer else None,
        row.credits,
        started="started_us" in details,  # otherwise it is only more of another one
        failed=failed,
    )


def failed_of(first_id: str) -> tuple[str, int]:
    """The id of a request from that of its first reservation, and its failed transactions."""
    request_id, _, failed = first_id.partition(_FAILED)
    return (request_id, int(failed)) if failed.isdigit() else (first_id, 0)


def list_of(limit: Limit, amount: int) -> list[Any]:
    """A limit and its reserved amount, as JSON."""
    return [*limit.key, limit.amount, amount]


def limit_of(value: Sequence[Any]) -> tuple[Limit, int]:
    """The opposite of `list_of`."""
    scope, subject, model, measure, window, most, amount = value
    limit = Limit(Scope(scope), subject, Measure(measure), parse_window(window), most, model)
    return limit, amount
