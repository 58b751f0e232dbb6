"""The credits that one transaction moves: of whom, and in which order they are locked."""

from collections.abc import Sequence

from frontend.accounts import credits
from frontend.accounts.credits import Balance, Reason, Transfer, transfer
from frontend.accounts.memory import subscription_of
from frontend.accounts.plans import renew
from frontend.accounts.prices import Price, price_of
from frontend.accounts.windows import parse_window
from frontend.domain.metering import UsageRow
from frontend.store.ledger.books import Books
from frontend.store.ledger.credits import SubscriptionRow, TransferRow

MONTH = parse_window("month")
Payer = tuple[str, str]
"""Kind and id of a scope."""


class Purses:
    """Balances and subscriptions of the payers of one transaction."""

    def __init__(self, books: Books, now_us: int) -> None:
        self._books, self._now_us = books, now_us
        self.balances: dict[Payer, Balance] = {}
        self._accounts: dict[Payer, dict[str, tuple[str, int]]] = {}
        self._subscriptions: dict[Payer, SubscriptionRow] = {}
        self._transfers: list[TransferRow] = []

    def open(self, payers: set[Payer]) -> None:
        """Locks subscriptions and balances, and begins the periods that are due."""
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
            if (row := self._subscriptions.get(payer)) is None:
                continue
            by_name = {plan.name: plan for plan in plans.values()}
            subscription = subscription_of(row)
            if moves := renew(subscription, self.balances[payer], self._now_us):
                self._record(payer, moves, None)
            if subscription.period_start_us != row.period_starts_at_us:
                row.plan, row.next_plan = by_name[subscription.plan.name], None
                row.period_starts_at_us = subscription.period_start_us
                books.save_subscription(row, MONTH.end(self._now_us))

    def cost(self, payer: Payer, row: UsageRow, prices: Sequence[Price]) -> int:
        """Credits of a request; nothing for a payer whose plan is unlimited."""
        subscription = self._subscriptions.get(payer)
        if subscription is None or subscription.plan.credits is None:
            return 0
        return price_of(prices, row.model, row.upstream, self._now_us).credits

    def reserve(self, payer: Payer, cost: int, request_id: str) -> None:
        """Sets credits aside, which are there."""
        move = transfer(self.balances[payer], Reason.RESERVE, cost)
        self._record(payer, [move], request_id)

    def settle(self, payer: Payer, reserved: int, spent: int, request_id: str) -> None:
        """Spends what was set aside, and gives the rest back."""
        moves = credits.settle(self.balances[payer], reserved, spent)
        self._record(payer, moves, request_id)

    def save(self) -> None:
        """Writes what was moved."""
        self._books.save_transfers(self._transfers, self._accounts, self._now_us)

    def _record(self, payer: Payer, moves: Sequence[Transfer], request_id: str | None) -> None:
        self._transfers += [
            TransferRow(payer, move.reason, move.legs, request_id) for move in moves
        ]
