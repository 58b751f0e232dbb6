"""Every kind that users may write, built from models.yaml and answered by the real Triton."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.support.client import request_of, tensors_of
from tests.support.triton import serving
from toolkit.building import build
from toolkit.errors import ServeError
from toolkit.serve.models import public_models
from toolkit.serve.probe import probes
from toolkit.serve.triton import TritonServer
from toolkit.spec import load
from toolkit.targets import find_target

MODELS = """
version: 1
models:
  judge:
    kind: rerank
    source: path:judge
    aliases: [critic]
    context_length: 24
    warmup: true
    response_cache: true
    priority: {levels: 3}
    batching: {max_delay_us: 100, max_queue: 64}
    instances: {count: 2}
    parts: {tokenize: {instances: 1, warmup: true}}

  shout:
    kind: python
    source: path:shout.py
    inputs: {text: {type: STRING, dims: [1]}}
    outputs: {loud: {type: STRING, dims: [1]}}
    max_batch_size: 8
    batching: {preferred: [4]}
    parameters: {mark: "!", times: 2}
    warmup: {inputs: {text: {text: warm}}, count: 2}
    response_cache: true
    version_policy: {latest: 1}

  count:
    kind: python
    source: path:count
    inputs: {n: {type: INT32, dims: [1]}}
    outputs: {number: {type: INT32, dims: [1]}}
    decoupled: true
    version_policy: {all: true}
    instances: {count: 1, rate_limit: {resources: [{name: slot, count: 1}], priority: 2}}

  letters:
    kind: python
    source: path:letters.py
    inputs:
      text: {type: STRING, dims: [1]}
      truncate: {type: BOOL, dims: [1], optional: true}
    outputs:
      embedding: {type: FP32, dims: [4]}
      num_tokens: {type: INT32, dims: [1]}
    max_batch_size: 8
    contract: {kind: embedding, context_length: 100, dimensions: 4}

  loud-letters:
    kind: ensemble
    aliases: [ll]
    inputs: {text: {type: STRING, dims: [1]}}
    outputs:
      embedding: {type: FP32, dims: [4]}
      num_tokens: {type: INT32, dims: [1]}
    max_batch_size: 8
    response_cache: true
    steps:
      - {model: shout, inputs: {text: text}, outputs: {loud: loud}}
      - model: letters
        inputs: {text: loud}
        outputs: {embedding: embedding, num_tokens: num_tokens}
    contract: {kind: embedding, context_length: 100, dimensions: 4}
"""
SHOUT = """
import json
import shutil
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.mark = parameters["mark"]["string_value"] * int(parameters["times"]["string_value"])
        self.calls = 0

    def execute(self, requests):
        answers = []
        for request in requests:
            texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
            loud = [[(text[0].decode().upper() + self.mark).encode()] for text in texts]
            tensor = pb_utils.Tensor("loud", np.array(loud, dtype=np.object_))
            answers.append(pb_utils.InferenceResponse([tensor]))
        return answers
"""
COUNT = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            n = int(pb_utils.get_input_tensor_by_name(request, "n").as_numpy()[0])
            sender = request.get_response_sender()
            for number in range(n):
                tensor = pb_utils.Tensor("number", np.array([number * STEP], dtype=np.int32))
                sender.send(pb_utils.InferenceResponse([tensor]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
LETTERS = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            texts = [
                text[0].decode()
                for text in pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
            ]
            vectors = np.array(
                [[text.count(letter) for letter in "AB!z"] for text in texts], dtype=np.float32
            )
            counts = np.array([[len(text)] for text in texts], dtype=np.int32)
            answers.append(
                pb_utils.InferenceResponse(
                    [pb_utils.Tensor("embedding", vectors), pb_utils.Tensor("num_tokens", counts)]
                )
            )
        return answers
"""


@dataclass(frozen=True, slots=True)
class Built:
    """The repository, and a server with all of it loaded."""

    folder: Path
    repository: Path
    server: TritonServer


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    from tests.support.tiny_models import save_cross_encoder  # with torch: seconds

    folder = tmp_path_factory.mktemp("kinds")
    save_cross_encoder(folder / "judge")
    (folder / "shout.py").write_text(SHOUT)
    (folder / "letters.py").write_text(LETTERS)
    for version, step in ((1, 1), (2, 10)):
        (folder / "count" / str(version)).mkdir(parents=True)
        source = COUNT.replace("STEP", str(step))
        (folder / "count" / str(version) / "model.py").write_text(source)
    (folder / "models.yaml").write_text(MODELS)
    repository = folder / "model_repository"
    build(load(folder / "models.yaml"), find_target("embedded"), repository)
    with serving(repository, folder / "log") as server:
        yield Built(folder, repository, server)


def infer(built: Built, model: str, version: str = "", **tensors: object) -> dict[str, np.ndarray]:
    request = request_of(model, tensors)
    request.model_version = version
    return tensors_of(built.server.api.ModelInfer(request, timeout=30))


def test_scores_are_those_of_the_library(built: Built) -> None:
    from sentence_transformers import CrossEncoder
    from torch.nn import Sigmoid

    pairs = [
        ("the capital of france", "paris is the capital of france"),
        ("the capital of france", "a cat sat"),
        ("berlin", "germany"),
    ]
    found = infer(built, "judge", query=[[q] for q, _ in pairs], document=[[d] for _, d in pairs])
    library = CrossEncoder(str(built.folder / "judge"), device="cpu")
    wanted = library.predict(pairs, activation_fn=Sigmoid(), show_progress_bar=False)
    assert np.abs(found["score"][:, 0] - wanted).max() < 1e-4
    assert found["num_tokens"].tolist() == [[13], [10], [5]]
    assert len(set(found["score"][:, 0].tolist())) == 3


def test_only_documents_are_cut_and_only_when_asked(built: Built) -> None:
    long = "paris " * 60
    with pytest.raises(grpc.RpcError, match="context_length_exceeded"):
        infer(built, "judge", query=[["paris"]], document=[[long]])
    cut = infer(built, "judge", query=[["paris"]], document=[[long]], truncate=[[True]])
    assert cut["num_tokens"].tolist() == [[24]]
    exact = infer(built, "judge", query=[["paris"]], document=[["paris " * 20]])
    assert np.allclose(cut["score"], exact["score"], atol=1e-6)
    with pytest.raises(grpc.RpcError, match="leaves no room for a document"):
        infer(built, "judge", query=[["paris " * 25]], document=[["paris"]], truncate=[[True]])
    with pytest.raises(grpc.RpcError, match="'query' has 360 bytes of text"):
        infer(built, "judge", query=[[long]], document=[["paris"]], truncate=[[True]])


def test_a_users_model_reads_its_parameters(built: Built) -> None:
    assert infer(built, "shout", text=[["a"], ["b"]])["loud"].tolist() == [[b"A!!"], [b"B!!"]]


def test_a_users_decoupled_model_has_versions(built: Built) -> None:
    for version, numbers in (("1", [0, 1, 2]), ("2", [0, 10, 20])):
        request = request_of("count", {"n": np.array([3], dtype=np.int32)})
        request.model_version = version
        answers = built.server.api.ModelStreamInfer(iter([request]), timeout=30)
        found = [int(tensors_of(answer.infer_response)["number"][0]) for answer in answers]
        assert found == numbers


def test_a_users_ensemble_hands_tensors_on(built: Built) -> None:
    found = infer(built, "loud-letters", text=[["ab"], ["zz"]])
    assert found["embedding"].tolist() == [[1, 1, 2, 0], [0, 0, 2, 0]]
    assert found["num_tokens"].tolist() == [[4], [4]]


def test_repeated_requests_come_from_the_cache(built: Built) -> None:
    def hits(model: str) -> int:
        request = service_pb2.ModelStatisticsRequest(name=model)
        (statistics,) = built.server.api.ModelStatistics(request, timeout=5).model_stats
        return int(statistics.inference_stats.cache_hit.count)

    for model, tensors in (
        ("shout", {"text": [["again"]]}),
        ("loud-letters", {"text": [["again"]]}),
        ("judge", {"query": [["a"]], "document": [["cat"]]}),
    ):
        first = infer(built, model, **tensors)
        before = hits(model)
        second = infer(built, model, **tensors)
        assert hits(model) == before + 1, model
        assert all(np.array_equal(first[name], second[name]) for name in first)


def test_the_server_runs_what_the_configs_say(built: Built) -> None:
    log = (built.folder / "log").read_text()
    assert "is not used" not in log
    for model, instances in (("judge.encoder", 2), ("judge.tokenize", 1)):
        names = {f"{model}_0_{number}" for number in range(instances)}
        assert all(name in log for name in names), model
    request = service_pb2.ModelConfigRequest(name="judge.encoder")
    config = built.server.api.ModelConfig(request, timeout=5).config
    assert config.dynamic_batching.priority_levels == 3
    assert config.dynamic_batching.default_priority_level == 2
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 64
    assert config.model_warmup[0].count == 1


def test_contracts_make_models_public_and_canaries_ask_them(built: Built) -> None:
    models = public_models(built.repository)
    assert {model.name: model.kind for model in models} == {
        "judge": "rerank",
        "count": "",
        "letters": "embedding",
        "loud-letters": "embedding",
    }
    asked = list(probes(models, built.server.serving()))
    steps = {"judge.tokenize", "judge.encoder", "letters", "shout"}
    assert {probe.step for probe in asked} == steps
    assert {probe.step: probe.refusal(built.server.api, 30) for probe in asked} == dict.fromkeys(
        steps, ""
    )
    aliases = {model.name: model.parameter("toolkit.aliases") for model in models}
    assert json.loads(aliases["loud-letters"]) == ["ll"]


def test_a_step_for_another_server_refuses_to_load(built: Built) -> None:
    stray = built.repository / "stray"
    shutil.copytree(built.repository / "judge.tokenize", stray)
    text = (stray / "config.pbtxt").read_text().replace('"judge.tokenize"', '"stray"')
    (stray / "config.pbtxt").write_text(text.replace('"embedded"', '"container:25.08"'))
    with pytest.raises(ServeError, match="toolkit build-repo --target embedded"):
        built.server.load(["stray"])
    shutil.rmtree(stray)
