"""Labels of upstreams, such as `site: cloud`, and the rules of groups about them. Pure.

A rule names a label and the values that it may have; prompts of the group only go to upstreams
that satisfy all of its rules. An upstream without the label does not satisfy a rule about it.
"""

import re
from collections.abc import Mapping, Sequence

Rules = tuple[tuple[str, tuple[str, ...]], ...]
"""Labels with their allowed values, in order; empty: every upstream is allowed."""
SITE, LOCAL, CLOUD = "site", "local", "cloud"
MOST = 32
"""Labels of one upstream, rules of one group, and values of one rule."""
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def labels_of(labels: Mapping[str, str], *, external: bool) -> dict[str, str]:
    """With the label `site`, which `external` stands for where it is not given."""
    return {SITE: CLOUD if external else LOCAL, **labels}


def is_allowed(rules: Rules, labels: Mapping[str, str]) -> bool:
    """Whether an upstream satisfies all rules."""
    return all(labels.get(name) in values for name, values in rules)


def make_rules(stored: Mapping[str, Sequence[str]] | None) -> Rules:
    """The rules as a group has them in the database."""
    return tuple(sorted((name, tuple(values)) for name, values in (stored or {}).items()))


def show_rules(rules: Rules) -> str:
    """As people write them: `site=local trust=high,medium`."""
    return " ".join(f"{name}={','.join(values)}" for name, values in rules)


def problem_of_labels(labels: Mapping[str, str], *, external: bool) -> str | None:
    """What is wrong with the labels of an upstream, and how to write them; None: nothing."""
    if len(labels) > MOST:
        return f"has {len(labels)} labels; at most {MOST} are allowed"
    for name, value in labels.items():
        if (problem := _problem(name, value)) is not None:
            return problem
    site = labels.get(SITE)
    if external and site == LOCAL:
        return "has site 'local', but 'external' is true; use another site, or set it to false"
    if not external and site == CLOUD:
        return "has site 'cloud', but 'external' is false; set it to true"
    return None


def problem_of_rules(rules: Mapping[str, Sequence[str]]) -> str | None:
    """What is wrong with the rules of a group, and how to write them; None: nothing."""
    if len(rules) > MOST:
        return f"has {len(rules)} labels; at most {MOST} are allowed"
    for name, values in rules.items():
        if not 1 <= len(values) <= MOST:
            return f"has {len(values)} values for '{name[:64]}'; 1 to {MOST} are allowed"
        for value in values:
            if (problem := _problem(name, value)) is not None:
                return problem
    return None


def _problem(name: str, value: str) -> str | None:
    if _NAME.fullmatch(name) is None:
        return (
            f"has the label '{name[:64]}'; it must be 1 to 63 of a-z, 0-9, '_', '.' and '-', and"
            " begin with a letter"
        )
    if _VALUE.fullmatch(value) is None:
        return (
            f"has the value '{value[:64]}' for '{name}'; it must be 1 to 63 letters, digits or any"
            " of '_', '.' and '-', and begin with a letter or digit"
        )
    return None
