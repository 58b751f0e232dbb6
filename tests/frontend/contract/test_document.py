"""The document's examples run, and nothing that it allows makes the gateway fail."""

from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from frontend.openapi.operations import OPERATIONS
from tests.support.gateway import Gateway

KINDS = {"chat": "echo", "completion": "echo", "embedding": "echo-embedding"}
KINDS |= {"image": "echo-diffusion"}


@pytest.fixture(scope="module")
def document(gateway: Gateway) -> dict[str, Any]:
    """As it is served."""
    found: dict[str, Any] = httpx2.get(f"{gateway.url}/docs/api").json()
    return found


def examples(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in body:
                yield path, body, operation["responses"]["200"]["content"]["application/json"]


def test_every_example_is_allowed_and_runs(raw: httpx2.Client, document: dict[str, Any]) -> None:
    found = list(examples(document))
    assert len(found) == sum(one.kind in KINDS for one in OPERATIONS)
    for path, body, answer in found:
        whole = {**body["schema"], "components": document["components"]}
        jsonschema_rs.validate(whole, body["example"])
        told = raw.post(path, json=body["example"])
        assert told.status_code == 200, (path, told.text)
        jsonschema_rs.validate(answer["schema"], told.json())


def test_the_page_loads_from_here_alone(raw: httpx2.Client) -> None:
    page = raw.get("/docs/swagger")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    linked = [part.split('"')[0] for part in page.text.replace("href=", "src=").split('src="')[1:]]
    assert len(linked) == 4
    for path in linked:
        assert path.startswith("/docs/swagger/")
        file = raw.get(path)
        assert file.status_code == 200
        assert file.content
    assert raw.get("/docs/swagger/..%2f__init__.py").status_code == 404


def test_nothing_that_it_allows_or_forbids_makes_the_gateway_fail(gateway: Gateway) -> None:
    """Schemathesis, on every operation: right requests and wrong ones."""
    schema = schemathesis.openapi.from_url(f"{gateway.url}/docs/api")
    kinds = {(one.method, one.path): one.kind for one in OPERATIONS}
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    tried = []
    for found in schema.get_all_operations():
        operation = found.ok()
        model = KINDS.get(kinds[operation.method.upper(), operation.path])

        # what has no body has nothing that could be wrong
        modes = GenerationMode if list(operation.body) else (GenerationMode.POSITIVE,)
        for mode in modes:
            fuzz(operation, mode, model, checks)
            tried.append((operation.method.upper(), operation.path))
    wanted = [
        (one.method, one.path)
        for one in OPERATIONS
        if one.path != "/docs/api"  # which it reads anyway
        for _ in range(2 if one.body else 1)
    ]
    assert sorted(tried) == sorted(wanted)


_STRUCTURED = (
    *("structured_outputs", "guided_json", "response_format"),
    *("text", "format", "output_config"),
)


def fuzz(operation: Any, mode: GenerationMode, model: str | None, checks: list[Any]) -> None:
    """Twenty requests, of the kind that the document allows or of the other."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        # callers without a key are refused there before anything is read
        max_examples=3 if operation.path.startswith(("/admin", "/me")) else 20,
        phases=[Phase.generate],
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Case) -> None:
        if isinstance(case.body, dict) and model is not None and "model" in case.body:
            case.body["model"] = model
            for structured in _STRUCTURED:
                case.body.pop(structured, None)  # the scripted engine obeys no grammar
        case.call_and_validate(checks=checks, timeout=20)

    run()
