"""What is wrong with a flag or a setting, in one sentence with its value.

Texts of settings are never shown, as they may hold passwords: only numbers, and words of a choice.
"""

import difflib
import re
from collections.abc import Iterable

from pydantic_core import ErrorDetails

_CHOICE = re.compile(r"\^\(([\w|-]+)\)\$")


def problem(error: ErrorDetails) -> str:
    """One of pydantic's errors about a setting."""
    value, limits = error["input"], error.get("ctx", {})
    match error["type"]:
        case "int_parsing" | "int_from_float" | "int_type" | "int_parsing_size":
            return f"'{value}' is not a whole number"
        case "float_parsing" | "float_type" | "finite_number":
            return f"'{value}' is not a number"
        case "bool_parsing" | "bool_type":
            return f"'{value}' must be true or false"
        case "greater_than_equal":
            return f"'{value}' is below the minimum of {limits['ge']}"
        case "greater_than":
            return f"'{value}' must be greater than {limits['gt']}"
        case "less_than_equal":
            return f"'{value}' is above the maximum of {limits['le']}"
        case "less_than":
            return f"'{value}' must be less than {limits['lt']}"
        case "literal_error" | "enum":
            return f"'{value}' is not {limits['expected']}"
        case "string_pattern_mismatch" if choice := _CHOICE.fullmatch(limits["pattern"]):
            return f"'{value}' is not one of {', '.join(choice[1].split('|'))}"
    return error["msg"].removeprefix("Value error, ")


def usage_problem(printed: str, fields: Iterable[str]) -> str:
    """What argparse printed about a command line, without its list of all flags.

    `fields` are the names of the settings.
    """
    text = printed.strip().rpartition("error: ")[2]
    unknown = text.removeprefix("unrecognized arguments: ")
    if unknown == text:
        return f"{text}; `triton-gateway --help` lists the flags"
    word = unknown.split()[0].partition("=")[0]  # a value may be a secret
    if not word.startswith("-"):
        return f"'{word}' is not a flag; `triton-gateway --help` lists the flags"
    flags = ["--help", "--version", *(f"--{field.replace('_', '-')}" for field in fields)]
    near = difflib.get_close_matches(word, flags, 1)
    hint = f"did you mean {near[0]}?" if near else "`triton-gateway --help` lists the flags"
    return f"there is no flag {word}; {hint}"
