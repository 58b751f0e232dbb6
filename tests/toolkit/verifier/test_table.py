"""The table of rules: complete, explained, and the same as its reference page."""

import re
from pathlib import Path

import pytest

import toolkit.verifier.rules as package
from toolkit.errors import RepositoryError
from toolkit.verifier.releases import find_server
from toolkit.verifier.rule import Rule
from toolkit.verifier.table import RULES, rules_page

_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "rules.md"


def test_each_rule_is_explained() -> None:
    for rule in RULES.values():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
        assert rule.title
        assert rule.explanation.endswith((".", ")"))


def test_no_rule_is_forgotten() -> None:
    modules = [each for each in vars(package).values() if hasattr(each, "RULES")]
    written = {v.id for m in modules for v in vars(m).values() if isinstance(v, Rule)}
    assert written == set(RULES)


def test_the_reference_page_is_up_to_date() -> None:
    assert _PAGE.read_text().endswith(rules_page())


@pytest.mark.parametrize(
    "name", ["", "embedded:24.10", "container:26", "container:26.13", "container:26.08-x", "k8s"]
)
def test_unknown_targets_are_refused(name: str) -> None:
    with pytest.raises(RepositoryError, match="unknown target"):
        find_server(name)


def test_fields_come_with_their_releases() -> None:
    field = "inference.ModelEnsembling.max_inflight_requests"
    assert find_server("embedded").lacks(field) == "25.11"
    assert find_server("container:25.08").lacks(field) == "25.11"
    assert find_server("container:26.08").lacks(field) is None
