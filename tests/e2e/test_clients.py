"""Client programs against the real engine; `make test-clients` has more of them."""

import pytest

from tests.clients.programs import PROGRAMS, run
from tests.e2e.conftest import CHAT, EMBEDDING
from tests.support.processes import Service


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        *("langchain-anthropic", "langchain-ollama", "langchain-openai", "litellm"),
        *("llama-index", "llm", "openai-2", "openai-agents"),
    ],
)
def test_a_client_program_works_unchanged(service: Service, name: str) -> None:
    (program,) = [one for one in PROGRAMS if one.name == name]
    outcome = run(program, service.url, {"CHAT": CHAT, "EMBEDDING": EMBEDDING})
    assert outcome.passed, outcome.output
