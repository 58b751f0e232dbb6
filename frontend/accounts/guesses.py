"""Limits guesses of the current password by somebody who has a key or a session of its user.

The owner must be able to change the password while a thief guesses it. So wrong passwords are
counted for a credential at an address, for the credential, and for the user, and each level allows
more than the one before it. A browser in which the owner has signed in is counted by itself.
"""

from dataclasses import dataclass, field

from frontend.accounts.attempts import Attempt
from frontend.accounts.directory.actor import Actor
from frontend.accounts.throttle import Throttle, subject_of
from frontend.errors import RateLimited

_EVERY_S = 30.0


def _at_most(limit: int) -> Throttle:
    return Throttle(limit, _EVERY_S)


@dataclass(frozen=True, slots=True)
class Guesses:
    """Counts wrong passwords of callers who are signed in, in this process."""

    browsers: Throttle = field(default_factory=lambda: _at_most(10))
    places: Throttle = field(default_factory=lambda: _at_most(5))
    credentials: Throttle = field(default_factory=lambda: _at_most(10))
    users: Throttle = field(default_factory=lambda: _at_most(20))

    def admit(self, actor: Actor) -> Attempt:
        """Counts an attempt until it turns out to be right. Raises RateLimited."""
        if actor.browser and self.browsers.fail([actor.browser]) == 0:
            return Attempt(True, ((self.browsers, actor.browser),))
        levels = (
            (self.places, f"{actor.credential} {subject_of(actor.address)}"),
            (self.credentials, actor.credential),
            (self.users, actor.id),
        )
        for number, (throttle, subject) in enumerate(levels):
            if (wait_s := throttle.fail([subject])) > 0:
                # what was refused was not checked, so it must not count anywhere
                Attempt(False, levels[:number]).succeed()
                text = "too many wrong passwords; wait and try again"
                if number:
                    text += ", or sign in again and use that browser"
                raise RateLimited(text, wait_us=int(wait_s * 1e6))
        return Attempt(False, levels)
