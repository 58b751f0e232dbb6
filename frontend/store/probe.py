"""Whether the database answers, and its revision: read at most once in a short while.

Strangers may ask as often as they like, so several of them share one reading, and a database that
hangs costs one task.
"""

import asyncio
import time
from dataclasses import dataclass, field

from frontend.errors import StoreUnavailable
from frontend.store.database import Database
from frontend.store.migrate import State, current_revision, revisions, state_of

_KEPT_S = 2.0
_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """`failure` is for operators: it may name the database; None: the tables can be used."""

    revision: str | None
    failure: str | None

    @property
    def needed(self) -> str:
        """The revision that this release needs."""
        return revisions()[-1]


@dataclass(slots=True)
class Probe:
    """Reads one database."""

    database: Database
    _task: asyncio.Task[Reading] | None = field(default=None, init=False)
    _read_at_s: float = field(default=-1e9, init=False)

    @property
    def kind(self) -> str:
        """Which database it is."""
        return "sqlite" if self.database.location.is_sqlite else "postgresql"

    async def read(self) -> Reading:
        """The last reading, or a new one after two seconds. Does not raise."""
        if self._task is None or (
            self._task.done() and time.monotonic() - self._read_at_s > _KEPT_S
        ):
            self._task = asyncio.create_task(self._read())
        # a caller that goes away must not end it for the others
        return await asyncio.shield(self._task)

    async def _read(self) -> Reading:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                revision = await current_revision(self.database)
        except StoreUnavailable as error:
            return Reading(None, error.reason)
        except TimeoutError:
            return Reading(None, f"no answer within {_TIMEOUT_S:g} s")
        finally:
            self._read_at_s = time.monotonic()
        state = state_of(revision)
        usable = state is State.CURRENT
        return Reading(revision, None if usable else f"its tables are {state}")
