"""Triton's own vLLM backend: what `toolkit verify` says, against the real server.

The embedded server does not bring that backend. It is a Python backend, whose
`auto_complete_config` and first steps (`src/model.py` of triton-inference-server/vllm_backend)
take its place here: so the real server shows what it does with each config and `model.json`.
"""

from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.support.triton import load_code
from tests.toolkit.verifier.conftest import Repository
from tests.toolkit.verifier.corpus.dsl import ENVIRONMENT, Files
from tests.toolkit.verifier.corpus.server import empty_server, write
from toolkit.verifier import Effect, verify_repository

_CODE = """
import json
import os
import triton_python_backend_utils as pb


class TritonPythonModel:
    @classmethod
    def auto_complete_config(cls, config):
        known = config.as_dict()
        if "text_input" not in {each["name"] for each in known["input"]}:
            config.add_input({"name": "text_input", "data_type": "TYPE_STRING", "dims": [1]})
        if "text_output" not in {each["name"] for each in known["output"]}:
            config.add_output({"name": "text_output", "data_type": "TYPE_STRING", "dims": [-1]})
        config.set_model_transaction_policy(dict(decoupled=True))
        config.set_max_batch_size(0)
        return config

    def initialize(self, args):
        config = json.loads(args["model_config"])
        assert pb.using_decoupled_model_transaction_policy(config)
        with open(os.path.join(pb.get_model_dir(), "model.json")) as file:
            engine = json.load(file)
        int(engine.get("tensor_parallel_size", 1))

    def execute(self, requests):
        for request in requests:
            request.get_response_sender().send(flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
_POLICY = "model_transaction_policy "
_IO = """
input { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] }
output { name: "text_output" data_type: TYPE_STRING dims: [ -1 ] }
"""
_ENGINE = b'{"model": "m"}'


@dataclass(frozen=True, slots=True)
class Config:
    """Part of a config and a `model.json`; without `rule` it loads and nothing is reported."""

    name: str
    text: str = ""
    engine: bytes = _ENGINE
    rule: str = ""


CONFIGS = [
    Config("plain"),
    Config("declared", _IO + _POLICY + "{ decoupled: true }"),
    Config("batch_zero", "max_batch_size: 0"),
    Config("dynamic", "dynamic_batching { }"),
    Config("batch", "max_batch_size: 4", rule="vllm-batch"),
    Config("batch_one", _IO + "max_batch_size: 1", rule="vllm-batch"),
    Config("not_decoupled", _POLICY + "{ decoupled: false }", rule="vllm-decoupled"),
    Config("policy_empty", _IO + _POLICY + "{ }", rule="vllm-decoupled"),
    Config("twice", engine=b'{"model": "m", "model": "n"}'),
    Config("not_json", engine=b"model: m\n", rule="vllm-engine"),
    Config("comma", engine=b'{\n  "model": "m",\n}\n', rule="vllm-engine"),
    Config("cut", engine=b'{"model": "m"', rule="vllm-engine"),
    Config("empty", engine=b"", rule="vllm-engine"),
    Config("list", engine=b'["model"]', rule="vllm-engine"),
    Config("text", engine=b'"m"', rule="vllm-engine"),
    Config("mark", engine=b"\xef\xbb\xbf" + _ENGINE, rule="vllm-engine"),
    Config("latin", engine='{"model": "mü"}'.encode("latin-1"), rule="vllm-engine"),
]


def _files(config: Config, backend: str) -> Files:
    return {
        "@/config.pbtxt": f'backend: "{backend}"\n{config.text}\n',
        "@/1/model.py": _CODE if backend == "python" else "",
    }


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_the_expected_rule_fires_and_no_other(config: Config, repository: Repository) -> None:
    root = repository(_files(config, "vllm"))
    (root / "model" / "1" / "model.json").write_bytes(config.engine)
    found = verify_repository(root, "container:26.08-vllm")
    assert [finding.code for finding in found] == ([config.rule] if config.rule else [])
    for finding in found:
        assert finding.effect is Effect.REFUSED
        assert "model.json" in finding.text or finding.place.line
        assert finding.fix


def test_letters_beyond_ascii_are_noted(repository: Repository) -> None:
    root = repository(_files(Config("letters"), "vllm"))
    (root / "model" / "1" / "model.json").write_bytes('{"model": "mü"}'.encode())
    (finding,) = verify_repository(root, "container:26.08-vllm")
    assert (finding.code, finding.effect) == ("vllm-engine", Effect.RISK)


def test_the_real_server_agrees(tmp_path: Path) -> None:
    for config in CONFIGS:
        files = _files(config, "python")
        files["@/config.pbtxt"] += ENVIRONMENT
        write(tmp_path, {path.replace("@", config.name): text for path, text in files.items()})
        (tmp_path / config.name / "1" / "model.json").write_bytes(config.engine)
    differences = []
    with empty_server(tmp_path, tmp_path / "triton.log") as server:
        for config in CONFIGS:
            code = load_code(server, config.name)
            if server.exit_code is not None:  # this release may abort where `initialize` raises
                server.start()
                code = load_code(server, config.name)
            if code is not (grpc.StatusCode.INVALID_ARGUMENT if config.rule else None):
                differences.append(f"{config.name}: {code}")
    assert not differences, "\n".join(differences)
