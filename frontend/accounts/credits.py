"""Prompt credits in double-entry bookkeeping: every transfer debits one account, credits another.

Pure. Amounts are integer millionths of a credit. The sum over all accounts is always 0, and a
holder's `available` and `reserved` are never negative.
"""

import enum
from dataclasses import dataclass

CREDIT = 1_000_000


class Account(enum.StrEnum):
    """The accounts of credits. `granted` is their source, so its balance is negative."""

    GRANTED = "granted"
    AVAILABLE = "available"
    RESERVED = "reserved"
    SPENT = "spent"
    EXPIRED = "expired"


class Reason(enum.StrEnum):
    """Why credits move."""

    GRANT = "grant"
    RESERVE = "reserve"
    SPEND = "spend"
    REFUND = "refund"
    EXPIRE = "expire"
    REVOKE = "revoke"


_ROUTES = {
    Reason.GRANT: (Account.GRANTED, Account.AVAILABLE),
    Reason.RESERVE: (Account.AVAILABLE, Account.RESERVED),
    Reason.SPEND: (Account.RESERVED, Account.SPENT),
    Reason.REFUND: (Account.RESERVED, Account.AVAILABLE),
    Reason.EXPIRE: (Account.AVAILABLE, Account.EXPIRED),
    Reason.REVOKE: (Account.AVAILABLE, Account.GRANTED),
}


class NotEnough(Exception):
    """The account does not have the amount; `available` is what it has."""

    def __init__(self, available: int) -> None:
        super().__init__(f"{available} millionths of a credit are left")
        self.available = available


@dataclass(slots=True)
class Balance:
    """The balance of one holder."""

    available: int = 0
    reserved: int = 0
    spent: int = 0
    expired: int = 0


@dataclass(frozen=True, slots=True)
class Transfer:
    """One movement of one holder's credits, from one account to another."""

    reason: Reason
    amount: int

    @property
    def legs(self) -> tuple[tuple[Account, int], tuple[Account, int]]:
        """The two entries; they add up to 0."""
        source, target = _ROUTES[self.reason]
        return (source, -self.amount), (target, self.amount)


def transfer(balance: Balance, reason: Reason, amount: int) -> Transfer:
    """Moves credits. Raises NotEnough, and then changes nothing."""
    if amount < 0:
        raise ValueError("an amount of credits cannot be negative")
    source, target = _ROUTES[reason]
    if source is not Account.GRANTED:
        if (has := getattr(balance, source)) < amount:
            raise NotEnough(has)
        setattr(balance, source, has - amount)
    if target is not Account.GRANTED:
        setattr(balance, target, getattr(balance, target) + amount)
    return Transfer(reason, amount)


def settle(balance: Balance, reserved: int, cost: int) -> list[Transfer]:
    """Spends `cost` of a reservation and refunds the rest."""
    spent = min(cost, reserved)
    moves = ((Reason.SPEND, spent), (Reason.REFUND, reserved - spent))
    return [transfer(balance, reason, amount) for reason, amount in moves if amount]
