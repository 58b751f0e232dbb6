"""All operations on the accounts of one database."""

from dataclasses import dataclass
from typing import Self

from frontend.accounts.directory.change import Changes
from frontend.accounts.directory.events import Events
from frontend.accounts.directory.factors import Factors
from frontend.accounts.directory.groups import Groups, Organisations
from frontend.accounts.directory.keys import Keys
from frontend.accounts.directory.plans import Plans, Prices, Subscriptions
from frontend.accounts.directory.quota_requests import QuotaRequests
from frontend.accounts.directory.quotas import Quotas
from frontend.accounts.directory.requests import KeyRequests
from frontend.accounts.directory.roles import Roles
from frontend.accounts.directory.users import Users
from frontend.accounts.guesses import Guesses
from frontend.accounts.passwords import Passwords
from frontend.accounts.seal import Seal
from frontend.store.database import Database
from frontend.store.redis import SharedCounters


@dataclass(frozen=True, slots=True)
class Directory:
    """One object for each kind of account."""

    organisations: Organisations
    groups: Groups
    roles: Roles
    users: Users
    factors: Factors
    keys: Keys
    requests: KeyRequests
    events: Events
    quotas: Quotas
    quota_requests: QuotaRequests
    plans: Plans
    subscriptions: Subscriptions
    prices: Prices

    @classmethod
    def of(
        cls,
        database: Database,
        counters: SharedCounters | None = None,
        keys: tuple[bytes, ...] = (),
    ) -> Self:
        """The accounts of a database, whose rates are counted in `counters`. Does not read yet.

        `keys` encrypt secrets: see `Seal`.
        """
        changes, passwords, guesses = Changes(database), Passwords(), Guesses()
        return cls(
            Organisations(changes),
            Groups(changes),
            Roles(changes),
            Users(changes, passwords, guesses),
            Factors(changes, passwords, Seal(database, keys), guesses=guesses),
            Keys(changes),
            KeyRequests(changes),
            Events(changes),
            Quotas(changes, counters),
            QuotaRequests(changes),
            Plans(changes),
            Subscriptions(changes),
            Prices(changes),
        )
