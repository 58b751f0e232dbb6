"""A ledger that kills its process: `python -m tests.support.killed URL FOLDER STEP`.

It has one request that has ended and one that is running; both were granted from memory.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from frontend.accounts.quotas import Need
from frontend.store.database import Database
from frontend.store.ledger.books import Books, LedgerStore
from frontend.store.location import parse_location
from tests.support.ledgers import hold_of, ledger_of, used, wait_until

T = TypeVar("T")
STEPS = ("granted", "settled", "transaction", "committed")


def end() -> None:
    """As `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, folder: Path, step: str) -> None:
    """Never returns."""
    database = Database(parse_location(url))
    async with ledger_of(database, folder=folder) as ledger:
        # the first one reads the counters, so that the others are granted from memory
        first = hold_of()
        await ledger.reserve(first, Need(1, 1))
        ledger.settle(used(first, 1, 1))
        await wait_until(lambda: not (ledger.backlog or ledger._writer._turn.locked()))
        ledger._writer.store = store = _Ending(database)
        ended, running = hold_of(), hold_of()
        await ledger.reserve(ended, Need(10, 20))
        await ledger.reserve(running, Need(10, 20))
        assert ended.queued, "it was not granted from memory"
        if step == "granted":
            end()
        ledger.settle(used(ended, 10, 5))
        if step == "settled":
            end()
        # from here the first write ends the process
        store.step = step
        await asyncio.Event().wait()


class _Ending(LedgerStore):
    step = ""

    async def write(self, work: Callable[[Books], T]) -> T:
        def work_and_end(books: Books) -> Any:
            result = work(books)
            if self.step == "transaction":
                end()
            return result

        done: T = await super().write(work_and_end)
        if self.step == "committed":
            end()
        return done


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
