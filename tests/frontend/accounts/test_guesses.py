"""Guesses of a current password are few for each credential, and hold up nobody who has another."""

from dataclasses import replace
from typing import Any

import pytest

from frontend.accounts.directory.actor import Actor
from frontend.accounts.guesses import Guesses
from frontend.accounts.throttle import Throttle
from frontend.errors import RateLimited

OWNER = Actor("ada", "ada", frozenset(), address="192.0.2.1", key="one")


def still() -> Guesses:
    """At a clock that stands still."""
    return Guesses(*(Throttle(limit, 30.0, lambda: 0.0) for limit in (10, 5, 10, 20)))


def guess(guesses: Guesses, count: int, **place: str) -> int:
    """How many of these guesses are checked."""
    checked = 0
    for number in range(count):
        at: dict[str, Any] = {name: value.format(number) for name, value in place.items()}
        try:
            guesses.admit(replace(OWNER, **at))
        except RateLimited:
            continue
        checked += 1
    return checked


def test_a_thief_at_one_address_holds_up_nobody_elsewhere() -> None:
    guesses = still()
    assert guess(guesses, 100, address="203.0.113.1") == 5
    guesses.admit(OWNER)


def test_a_thief_of_one_key_holds_up_no_other_key_or_session() -> None:
    guesses = still()
    assert guess(guesses, 100, address="203.0.113.{}") == 10
    with pytest.raises(RateLimited, match="sign in again"):
        guesses.admit(OWNER)
    guesses.admit(replace(OWNER, key="another"))
    guesses.admit(replace(OWNER, key="", session="a session"))


def test_guesses_with_ever_new_keys_are_few_and_a_known_browser_is_not_held_up() -> None:
    guesses = still()
    assert guess(guesses, 100, key="key {}", address="203.0.113.{}") == 20
    browser = replace(OWNER, browser="a proof")
    for _ in range(30):
        guesses.admit(browser).succeed()
    assert guess(guesses, 100, browser="a proof") == 10
    # another user is not concerned
    guesses.admit(replace(OWNER, id="bob", key="of bob"))


def test_a_right_password_is_not_counted() -> None:
    guesses = still()
    for _ in range(100):
        guesses.admit(OWNER).succeed()
    # what one level refused was not counted by the levels before it
    assert guess(guesses, 100, address="203.0.113.{}") == 10
    assert guess(guesses, 100, address="203.0.114.{}") == 0
    assert guess(guesses, 100, key="two", address="203.0.113.{}") == 10
