"""Schemas of real libraries and of the standard's own tests are taken, and checked right."""

from typing import Any

import pytest

from tests.support.schema_cases import ALL
from tests.support.schema_grammars import fits, plan
from tests.support.schema_libraries import AGENTS, as_object, pydantic_schemas

PYDANTIC = pydantic_schemas()


def test_there_are_enough_of_them() -> None:
    assert len(ALL) >= 100
    assert len(PYDANTIC) >= 200
    assert sum(map(len, AGENTS.values())) >= 15


@pytest.mark.parametrize("enforced", [True, False])
@pytest.mark.parametrize("name", PYDANTIC)
def test_the_schema_of_every_pydantic_type_is_taken(name: str, enforced: bool) -> None:
    plan(PYDANTIC[name], enforced=enforced)
    plan(as_object(PYDANTIC[name]), enforced=enforced)


@pytest.mark.parametrize("agent", AGENTS)
def test_the_tools_of_agents_are_taken(agent: str) -> None:
    for schema in AGENTS[agent].values():
        for enforced in (True, False):
            assert plan(schema, enforced=enforced).unchecked == ()


@pytest.mark.parametrize("case", ALL, ids=str)
def test_the_check_says_what_the_standard_says(case: Any) -> None:
    schema, good, bad = case
    plan(schema, enforced=True)
    assert [value for value in good if not fits(schema, value)] == []
    assert [value for value in bad if fits(schema, value)] == []
