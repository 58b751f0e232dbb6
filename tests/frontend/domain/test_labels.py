"""Labels of upstreams, and the rules about them."""

import pytest

from frontend.domain.labels import (
    MOST,
    is_allowed,
    labels_of,
    make_rules,
    problem_of_labels,
    problem_of_rules,
    show_rules,
)


def test_the_label_site_is_known_of_every_upstream() -> None:
    assert labels_of({}, external=True) == {"site": "cloud"}
    assert labels_of({"trust": "low"}, external=False) == {"site": "local", "trust": "low"}
    assert labels_of({"site": "berlin"}, external=False) == {"site": "berlin"}


def test_every_rule_must_be_satisfied() -> None:
    rules = make_rules({"trust": ["high"], "site": ["local", "berlin"]})
    assert show_rules(rules) == "site=local,berlin trust=high"
    assert is_allowed(rules, {"site": "berlin", "trust": "high"})
    assert not is_allowed(rules, {"site": "berlin"})
    assert not is_allowed(rules, {"site": "cloud", "trust": "high"})
    assert is_allowed(make_rules(None), {})


@pytest.mark.parametrize(
    ("labels", "external", "problem"),
    [
        ({"Site": "a"}, False, "the label 'Site'"),
        ({"site": ""}, False, "the value '' for 'site'"),
        ({"site": "local"}, True, "'external' is true"),
        ({"site": "cloud"}, False, "set it to true"),
        ({f"a{n}": "b" for n in range(MOST + 1)}, False, "at most 32"),
        ({"site": "berlin", "region": "eu-1"}, True, None),
    ],
)
def test_wrong_labels_are_refused_with_what_is_allowed(
    labels: dict[str, str], external: bool, problem: str | None
) -> None:
    found = problem_of_labels(labels, external=external)
    assert (found is None) is (problem is None)
    assert (problem or "") in (found or "")


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({"site": []}, "0 values for 'site'"),
        ({"site": ["a b"]}, "the value 'a b'"),
        ({"a" * 64: ["b"]}, "1 to 63"),
        ({f"a{n}": ["b"] for n in range(MOST + 1)}, "at most 32"),
    ],
)
def test_wrong_rules_are_refused_with_what_is_allowed(
    rules: dict[str, list[str]], problem: str
) -> None:
    assert problem in (problem_of_rules(rules) or "")
