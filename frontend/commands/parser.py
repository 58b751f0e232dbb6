"""Parses command lines; an error names the wrong word and the closest valid one.

Numbers are parsed here; their bounds are in the declarations of the API's bodies.
"""

import argparse
import math
import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

_CHOICE = re.compile(r"argument (.+?): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)
_MAX_SHOWN = 40
_MAX_DIGITS = 18


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line `error: …` and one line `hint: …`."""

    def error(self, message: str) -> NoReturn:
        """Exits with 2."""
        hint = f"`{self.prog} --help` lists what it takes"
        if match := _CHOICE.fullmatch(message):
            name, given = match[1], match[2][:_MAX_SHOWN]
            known = [one.strip("'") for one in match[3].split(", ")]
            what = "a command of" if name == "COMMAND" else f"a value of {name} of"
            message = f"{given!r} is not {what} `{self.prog}`"
            hint = near(given, known) or f"it must be one of {', '.join(known)}"
        self.refuse(message, hint)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Unknown options are refused by the command that they were given to."""
        options, extra = super().parse_known_args(args, namespace)
        if extra:
            given = extra[0].partition("=")[0][:_MAX_SHOWN]
            is_option = given.startswith("-")
            hint = near(given, self._option_string_actions) if is_option else ""
            what = "an option of" if is_option else "expected by"
            hint = hint or f"`{self.prog} --help` lists what it takes"
            self.refuse(f"{given!r} is not {what} `{self.prog}`", hint)
        return options, extra

    def flags(self) -> dict[str, str]:
        """The name of each option's value → the option."""
        return {each.dest: each.option_strings[0] for each in self._actions if each.option_strings}

    def refuse(self, message: str, hint: str) -> NoReturn:
        """Exits with 2 after these two lines."""
        sys.stderr.write(f"error: {message}\nhint: {hint}\n")
        raise SystemExit(2)


def near(given: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or nothing where no known name is close."""
    close = get_close_matches(given[:_MAX_SHOWN], known, 1)
    return f"did you mean '{close[0]}'?" if close else ""


def number(text: str) -> float:
    """A number with or without decimals, for argparse; not `nan` or `inf`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a number")
    return value


def whole(text: str) -> int:
    """A whole number, for argparse."""
    if not re.fullmatch(r"-?[0-9]+", text):
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a whole number")
    if len(text) > _MAX_DIGITS:
        raise argparse.ArgumentTypeError(
            f"'{text[:20]}…' is too large; it must have at most {_MAX_DIGITS} digits"
        )
    return int(text)
