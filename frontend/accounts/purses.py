"""The credits that one transaction moves, and the order in which their rows are locked.

Grants from memory are debited first, from the period in which they were granted.
"""

from collections.abc import Sequence

from frontend.accounts import credits
from frontend.accounts.credits import Balance, Reason, Transfer, transfer
from frontend.accounts.holds import Hold
from frontend.accounts.memory import RULES_US, Payer, Purse, subscription_of
from frontend.accounts.plans import renew
from frontend.accounts.prices import Price, price_of
from frontend.accounts.windows import parse_window
from frontend.domain.metering import UsageRow
from frontend.store.ledger.books import Books
from frontend.store.ledger.credits import SubscriptionRow, TransferRow

MONTH = parse_window("month")


class Purses:
    """Balances and subscriptions of the payers of one transaction."""

    def __init__(self, books: Books, now_us: int) -> None:
        self._books, self._now_us = books, now_us
        self.balances: dict[Payer, Balance] = {}
        self._accounts: dict[Payer, dict[str, tuple[str, int]]] = {}
        self._subscriptions: dict[Payer, SubscriptionRow] = {}
        self._transfers: list[TransferRow] = []

    def open(self, payers: set[Payer], granted: Sequence[Hold] = ()) -> None:
        """Locks subscriptions and balances, takes what was granted already, and begins the periods
        that are due."""
        books = self._books
        ids = {scope_id for _, scope_id in payers}
        plans = books.plans()
        self._subscriptions = books.subscriptions(ids, plans, lock=True)
        self._accounts = books.lock_balances(payers)
        for payer in payers:
            names = self._accounts[payer]
            self.balances[payer] = Balance(
                *(names[name][1] for name in ("available", "reserved", "spent", "expired"))
            )
        for hold in granted:
            self._take(hold)
        for payer in payers:
            if (row := self._subscriptions.get(payer)) is None:
                continue
            by_name = {plan.name: plan for plan in plans.values()}
            subscription = subscription_of(row)
            if moves := renew(subscription, self.balances[payer], self._now_us):
                self._record(payer, moves, None)
            if subscription.period_start_us != row.period_starts_at_us:
                row.plan, row.next_plan = by_name[subscription.plan.name], None
                row.period_starts_at_us = subscription.period_start_us
                row.credits = subscription.credits
                books.save_subscription(row, MONTH.end(self._now_us))

    def cost(self, payer: Payer, row: UsageRow, prices: Sequence[Price]) -> int:
        """Credits of a request; nothing for a payer whose plan is unlimited."""
        if not self._pays(payer):
            return 0
        return price_of(prices, row.model, row.upstream, self._now_us).credits

    def reserve(self, payer: Payer, cost: int, request_id: str) -> None:
        """Reserves credits, which must be available."""
        move = transfer(self.balances[payer], Reason.RESERVE, cost)
        self._record(payer, [move], request_id)

    def settle(self, payer: Payer, reserved: int, spent: int, request_id: str) -> None:
        """Spends reserved credits, and refunds the rest."""
        moves = credits.settle(self.balances[payer], reserved, spent)
        self._record(payer, moves, request_id)

    def purses(self) -> dict[Payer, Purse]:
        """The payers' balances now, for the cache of the process."""
        now_us = self._now_us
        until_us = min(now_us + RULES_US, MONTH.end(now_us))
        return {
            payer: Purse(balance.available, self._pays(payer), now_us, until_us)
            for payer, balance in self.balances.items()
        }

    def save(self) -> None:
        """Writes the transfers."""
        self._books.save_transfers(self._transfers, self._accounts, self._now_us)

    def _pays(self, payer: Payer) -> bool:
        subscription = self._subscriptions.get(payer)
        return subscription is not None and subscription.plan.credits is not None

    def _take(self, hold: Hold) -> None:
        assert hold.payer is not None
        # an administrator may have taken credits back since the grant: then the rest is all it has
        hold.credits = min(hold.credits, self.balances[hold.payer].available)
        self.reserve(hold.payer, hold.credits, hold.row.request_id)

    def _record(self, payer: Payer, moves: Sequence[Transfer], request_id: str | None) -> None:
        self._transfers += [
            TransferRow(payer, move.reason, move.legs, request_id) for move in moves
        ]
