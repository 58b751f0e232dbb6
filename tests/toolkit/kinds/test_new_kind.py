"""A kind is added by one file: everything else finds it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from toolkit.kinds import all_kinds

SCORER = '''
"""Scorers: a model.py whose tensors are those of a rerank model."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from toolkit import contract
from toolkit.fields.entry import SourcedEntry
from toolkit.kinds.checks import sourced_findings
from toolkit.kinds.kind import Kind
from toolkit.kinds.parts import Step, Tensor
from toolkit.kinds.python import COPY, UserFacts


class ScorerEntry(SourcedEntry):
    """A scorer of your own."""

    kind: Literal["scorer"] = Field(description="A scorer.")
    context_length: int = Field(ge=1, description="Tokens of query and document.")


class _Scorer(Kind[ScorerEntry, UserFacts]):
    name = "scorer"
    position = 9
    entry = ScorerEntry
    facts = UserFacts
    interface = contract.INTERFACES["rerank"]
    estimate = "process"
    title = "A scorer"
    weights = "a scorer"
    example = "path:scorer"
    code_files = ("model.py",)
    not_here = {"batching": "a scorer takes one pair at a time"}

    def recognizes(self, files, engine):
        return "scorer.txt" in files.names

    def conversion(self, source):
        return COPY

    def findings(self, name, entry, around):
        yield from sourced_findings(entry, (), around)
        if entry.context_length > 4096:
            yield ("context_length",), "is more than 4096", "write 4096"

    def models(self, entry, facts, building):
        one = self.interface
        inputs = [Tensor(name, *shape) for name, shape in one.required.items()]
        outputs = [Tensor(name, *shape) for name, shape in one.outputs.items()]
        public = {
            **building.public,
            contract.KIND: "rerank",
            contract.CAPABILITIES: list(one.capabilities),
            contract.CONTEXT_LENGTH: entry.context_length,
        }
        step = Step(building.name, "onnx", inputs, outputs, public, max_batch_size=8)
        return [step]


KIND = _Scorer()
'''
MODEL = """
class TritonPythonModel:
    def execute(self, requests):
        return []
"""
CHECK = """
import json, sys
from pathlib import Path
import toolkit.kinds
toolkit.kinds.__path__.append(sys.argv[1])
from dataclasses import asdict
from docs.fields import models_page
from toolkit.building import build
from toolkit.building.preview import preview
from toolkit.cli.commands import load_command
from toolkit.errors import SpecError
from toolkit.fit.devices import Device
from toolkit.fit.models import fit_models
from toolkit.fit.result import Question
from toolkit.kinds.classify import classify, refusal
from toolkit.kinds.files import read_files
from toolkit.progress import silent
from toolkit.serve.canary import request_for
from toolkit.serve.models import public_models
from toolkit.serve.probe import probes
from toolkit.single.entry import plan
from toolkit.single.source import read_source
from toolkit.spec import load, parse
from toolkit.spec.schema import fields_at, models_schema
from toolkit.targets import find_target
from toolkit.verifier import verify_repository

folder, target = Path(sys.argv[1]), find_target("embedded")
spec = load(folder / "models.yaml")
before = preview(spec, target, folder / "repository")
built = build(spec, target, folder / "repository")
fit = fit_models(Question(spec, target, [], 2**34, 4, True, 2**30))
wrong = "version: 1\\nmodels:\\n  s:\\n    kind: scorer\\n    source: path:s\\n"
wrong += "    context_length: 9999\\n    batching: {}\\n"
try:
    parse("models.yaml", wrong, folder)
except SpecError as error:
    findings = [(each.place.field, each.text, each.fix) for each in error.findings]
served = public_models(folder / "repository")
weights = folder / "weights"
single = plan(str(weights), read_source(str(weights)), silent)
print(json.dumps({
    "works": [[work.step, work.what] for work in before.works],
    "verified": [str(finding) for finding in verify_repository(folder / "repository", "embedded")],
    "served": [[model.name, model.kind] for model in served],
    "probed": [each.step for each in probes(served, {each.name: each.config for each in served})],
    "canary": [tensor.name for tensor in request_for(served[0]).inputs],
    "weights": asdict(classify(read_files(weights))),
    "refused": [refusal("llm", weights, None), refusal("scorer", weights, None)],
    "single": [single.kind, single.text],
    "kinds": list(toolkit.kinds.all_kinds()),
    "plan": built.plan.summary()["models"],
    "page": models_page(),
    "schema": sorted(models_schema()["$defs"]),
    "fields": fields_at("scorer", ()),
    "fit": [(model.kind, model.host_bytes > 0) for model in fit.models],
    "findings": findings,
    "options": [option.name for option in load_command("init").params],
}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the toolkit says and writes when the kind's file is beside the others."""
    folder = tmp_path_factory.mktemp("kind")
    (folder / "scorer.py").write_text(SCORER)
    (folder / "s").mkdir()
    (folder / "s" / "model.py").write_text(MODEL)
    (folder / "weights").mkdir()
    for name, text in {"scorer.txt": "", "config.json": "{}", "model.py": MODEL}.items():
        (folder / "weights" / name).write_text(text)
    (folder / "models.yaml").write_text(
        "version: 1\nmodels:\n  best: {kind: scorer, source: 'path:s', context_length: 64}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    result["config"] = (folder / "repository" / "best" / "config.pbtxt").read_text()
    result["code"] = (folder / "repository" / "best" / "1" / "model.py").read_text()
    return result


def test_the_registry_has_it_after_the_others(found: dict[str, Any]) -> None:
    assert found["kinds"][-1] == "scorer"
    assert found["kinds"][:-1] == list(all_kinds())


def test_it_is_planned_built_and_verified(found: dict[str, Any]) -> None:
    assert found["plan"]["best"]["kind"] == "scorer"
    assert found["plan"]["best"]["files"] == ["best/config.pbtxt", "best/1/model.py"]
    assert found["code"] == MODEL
    assert 'key: "toolkit.kind"' in found["config"]
    assert 'name: "document"' in found["config"]


def test_a_dry_run_says_what_a_build_would_do(found: dict[str, Any]) -> None:
    assert found["works"] == [
        ["download", "path:s"],
        ["convert", "copy the model's files"],
    ]


def test_the_verifier_has_no_finding(found: dict[str, Any]) -> None:
    assert found["verified"] == []


def test_it_is_listed_and_probed_as_its_interface(found: dict[str, Any]) -> None:
    assert found["served"] == [["best", "rerank"]]
    assert found["probed"] == ["best"]
    assert found["canary"] == ["query", "document"]


def test_its_weights_are_recognized_by_builds_and_by_name(found: dict[str, Any]) -> None:
    assert found["weights"]["kind"] == "scorer"
    assert found["refused"] == [["a scorer", "write `kind: scorer`"], None]
    assert found["single"][0] == "scorer"
    assert 'kind: "scorer"' in found["single"][1]


def test_reference_and_schema_explain_it(found: dict[str, Any]) -> None:
    assert "## `kind: scorer`\n\nA scorer of your own." in found["page"]
    assert {"ScorerEntry", "ScorerEntryChanges"} <= set(found["schema"])
    assert "context_length" in found["fields"]


def test_its_capacity_is_estimated(found: dict[str, Any]) -> None:
    assert found["fit"] == [["scorer", True]]


def test_init_has_an_option_for_it(found: dict[str, Any]) -> None:
    assert "scorer" in found["options"]
    assert "python" not in found["options"]  # has no example to offer


def test_its_own_checks_and_reasons_are_reported(found: dict[str, Any]) -> None:
    assert found["findings"] == [
        ["models.s.context_length", "is more than 4096", "write 4096"],
        [
            "models.s.batching",
            "is not a field of kind `scorer`",
            "a scorer takes one pair at a time",
        ],
    ]
