"""Writes holds as lines of the journal, and reads the journal of a dead process.

A line has everything that is needed to charge a request. Requests that the database has already are
detected when they are settled.
"""

import logging
from collections.abc import Iterable
from typing import Any

import orjson

from frontend.accounts.holds import Hold, failed_of, limit_of, list_of
from frontend.domain.metering import Owner, UsageRow
from frontend.domain.usage import Usage

_log = logging.getLogger(__name__)


def write_line(hold: Hold) -> bytes:
    """Writes a hold that has just been granted, or one that has ended."""
    row = hold.row
    parts = {
        part: [list_of(limit, amount) for limit, amount in holds]
        for part, holds in hold.parts.items()
    }
    # a request that was granted and whose process died counts as started, as in its reservation
    state = (hold.started or not hold.is_settled, hold.is_offline, hold.deadline_us)
    return orjson.dumps((row, parts, hold.payer, hold.credits, state))


def read_holds(lines: Iterable[bytes], now_us: int) -> list[Hold]:
    """Reads what a dead process had not written to the database, as requests that end now."""
    holds: dict[str, Hold] = {}
    for line in lines:
        try:
            hold = _hold_of(orjson.loads(line), now_us)
        # half a line, of a disk that was full; or one of another release
        except (ValueError, TypeError, KeyError) as error:
            _log.warning("a line of the ledger's journal cannot be read: %s", error)
            continue
        holds[hold.row.request_id] = hold
    return [*holds.values()]


def _hold_of(values: Any, now_us: int) -> Hold:
    fields, parts, payer, credit, (started, is_offline, deadline_us) = values
    owner, usage = Owner(**fields.pop("owner")), Usage(**fields.pop("usage"))
    row = UsageRow(owner=owner, usage=usage, **fields)
    if not row.status:  # it was still running
        row.status, row.estimated = 500, True
        row.duration_us = max(now_us - row.started_us, 0)
    return Hold(
        row,
        deadline_us,
        {part: tuple(map(limit_of, holds)) for part, holds in parts.items()},
        (payer[0], payer[1]) if payer else None,
        credit,
        started=started,
        is_offline=is_offline,
        # the transaction looks for its reservation, because it is a repeated one
        is_unwritten=bool(parts),
        failed=failed_of(next(iter(parts)))[1] if parts else 0,
    )
