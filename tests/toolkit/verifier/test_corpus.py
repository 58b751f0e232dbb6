"""What `toolkit verify` says about the corpus, against what the real embedded server does with it.

Both directions: what the server refuses must be reported as refused, what it loads must not be.
"""

from pathlib import Path

import pytest

from tests.toolkit.verifier.corpus import all_cases
from tests.toolkit.verifier.corpus.dsl import Case, Verdict
from tests.toolkit.verifier.corpus.library import LIBRARY, used_by
from tests.toolkit.verifier.corpus.server import judge_all, reasons, serving, write
from toolkit.verifier import Effect, ModelFinding, verify_repository

CASES = all_cases()
_NO_NUMPY = "whether the system's own Python has numpy is the machine's business: only a warning"
EXCEPTIONS = {
    "no_config": _NO_NUMPY,
    "config_misnamed": _NO_NUMPY,
    "empty_config": _NO_NUMPY,
    "environment_unset": _NO_NUMPY,
}
"""Cases in which server and verify are known to differ, and why."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[ModelFinding]]:
    """Each case's findings, the case being a repository of its own."""
    root = tmp_path_factory.mktemp("cases")
    for case in CASES:
        files = case.written()
        write(root / case.name, {**used_by(files), **files})
    return {case.name: verify_repository(root / case.name, "embedded") for case in CASES}


def test_the_corpus_is_large_enough() -> None:
    assert len(CASES) >= 150
    assert sum(not case.rules for case in CASES) >= 50


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_expected_rules_fire_and_no_others(
    case: Case, found: dict[str, list[ModelFinding]]
) -> None:
    fired = {finding.code for finding in found[case.name]}
    if not case.rules:
        assert not fired
    assert set(case.rules) <= fired
    assert _refuses(found[case.name]) == (case.verdict in {Verdict.REFUSED, Verdict.HANGS}) or (
        case.name in EXCEPTIONS
    )


def test_the_library_is_clean(tmp_path: Path) -> None:
    write(tmp_path, {path: text for model in LIBRARY.values() for path, text in model.items()})
    assert verify_repository(tmp_path, "embedded") == []


def test_the_real_server_agrees(
    found: dict[str, list[ModelFinding]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    scratch = tmp_path_factory.mktemp("server")
    with serving(CASES, scratch) as server:
        answers = judge_all(server, CASES)
    differences = []
    for case in CASES:
        verdict, reason = answers[case.name]
        refused = verdict in {Verdict.REFUSED, Verdict.HANGS}
        agrees = refused == _refuses(found[case.name]) or case.name in EXCEPTIONS
        if verdict is not case.verdict or not agrees:
            log = reasons(scratch / "triton.log", case.models[0])
            differences.append(f"{case.name}: the server {verdict}: {reason}\n{log}")
    assert not differences, "\n".join(differences)


def _refuses(findings: list[ModelFinding]) -> bool:
    return any(finding.effect is Effect.REFUSED for finding in findings)
