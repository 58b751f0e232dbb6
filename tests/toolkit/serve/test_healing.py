"""One dead or hanging model is started again alone; a busy one is left alone. The real Triton."""

import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import grpc
import psutil
import pytest
from tritonclient.grpc import service_pb2

from tests.support.echo import EchoTriton
from tests.support.processes import alive, wait_for
from tests.support.repository import (
    EMBED_INPUTS,
    echo_repository,
    write_ensemble,
    write_step,
)
from toolkit.runtime.environments import link_environments
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.healing import GENERATION, Healer
from toolkit.serve.models import public
from toolkit.serve.probe import probes
from toolkit.serve.restarts import MAX_RESTARTS, Restarts
from toolkit.serve.triton import TritonServer
from toolkit.serve.triton_command import TritonOptions
from toolkit.serve.watch import Timeouts, in_background

SLOW = """
import time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        text = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().item().decode()
        what, _, seconds = text.partition(" ")
        end = time.monotonic() + float(seconds) if what == "compute" else 0
        while time.monotonic() < end:
            pass
        output = pb_utils.Tensor("embedding", np.zeros((1, 8), dtype=np.float32))
        count = pb_utils.Tensor("num_tokens", np.ones((1, 1), dtype=np.int32))
        return pb_utils.InferenceResponse([output, count])
"""


class Service:
    """A server with its healer, which the test lets look as often as it likes."""

    def __init__(self, folder: Path) -> None:
        repository = folder / "repository"
        repository.mkdir()
        echo_repository(repository)
        tensors = (EMBED_INPUTS, {"embedding": ("FP32", [8]), "num_tokens": ("INT32", [1])})
        step = write_step(repository, "slow.encoder", "echo", tensors, max_batch_size=64)
        (repository / step / "1" / "model.py").write_text(SLOW)
        same = [{name.rstrip("?"): name.rstrip("?") for name in each} for each in tensors]
        parameters = {"toolkit.kind": "embedding", "toolkit.contract": "1"}
        write_ensemble(
            repository,
            "slow",
            tensors,
            [(step, *same)],
            max_batch_size=64,
            parameters=parameters,
        )
        link_environments(repository)
        self.server = TritonServer(ensure_triton(), TritonOptions(repository, folder / "log"))
        self.said: list[str] = []
        self.healer = Healer(
            self.server, self.said.append, Timeouts(quiet_s=3, hung_s=60, interval_s=0.2)
        )

    def start(self) -> None:
        self.server.start()
        self.server.load(["echo", "echo-embedding", "echo-diffusion", "slow"])
        self.healer.begin()

    def check_until(self, condition: str, timeout_s: float = 60) -> None:
        """Checks four times a second until a line with `condition` was reported."""
        deadline = time.monotonic() + timeout_s
        while not any(condition in line for line in self.said):
            assert time.monotonic() < deadline, f"no '{condition}' in {self.said}"
            self.check()

    def check(self) -> None:
        self.healer.check(self.server.serving())
        threading.Event().wait(0.25)

    def pids(self, model: str) -> set[int]:
        return set(self.healer._pids(model))

    def embed(self, model: str, text: str, timeout_s: float = 60) -> int:
        request = service_pb2.ModelInferRequest(model_name=model)
        request.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
        request.raw_input_contents.append(struct.pack("<I", len(text)) + text.encode())
        return len(self.server.api.ModelInfer(request, timeout=timeout_s).raw_output_contents)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("healing"))
    service.start()
    yield service
    service.server.kill()  # a model whose process died cannot end in order
    service.server.end()


@pytest.fixture
def service(running: Service) -> Service:
    running.said.clear()
    running.healer._attempts.clear()
    running.healer.begin()
    return running


def untouched(service: Service, but: str) -> dict[str, set[int]]:
    return {
        model: service.pids(model)
        for model in ("echo.engine", "echo-embedding.encoder", "echo-diffusion.decode")
        if model != but
    }


def test_canaries_of_every_kind_are_answered(echo_triton: EchoTriton, service: Service) -> None:
    configs = service.server.serving()
    asked = list(probes(public(list(configs.values())), configs))
    assert {"echo.engine", "echo-embedding.encoder", "slow.encoder"} <= {c.step for c in asked}
    assert [c.step for c in asked if c.refusal(service.server.api, 30)] == []


def test_a_model_whose_process_died_is_started_anew_alone(service: Service) -> None:
    others, server = untouched(service, "echo-embedding.encoder"), service.server.pid
    [old] = service.pids("echo-embedding.encoder")
    psutil.Process(old).kill()
    service.check_until("echo-embedding.encoder is served again")
    assert service.embed("echo-embedding", "a") == 2
    assert service.pids("echo-embedding.encoder").isdisjoint({old})
    assert untouched(service, "echo-embedding.encoder") == others
    assert service.server.pid == server
    assert "one of its Python processes died" in service.said[0]


def test_a_second_death_is_healed_like_the_first(service: Service) -> None:
    for _ in range(2):
        service.said.clear()
        for pid in service.pids("slow.encoder"):
            psutil.Process(pid).kill()
        service.check_until("slow.encoder is served again")
        assert service.embed("slow", "quick") == 2


def test_an_engine_gets_a_new_generation(service: Service) -> None:
    assert GENERATION not in service.server.config("echo.engine").parameters
    for pid in service.pids("echo.engine"):
        psutil.Process(pid).kill()
    service.check_until("echo.engine is served again")
    config = service.server.config("echo.engine")
    assert config.parameters[GENERATION].string_value
    assert config.model_transaction_policy.decoupled
    assert config.parameters["mode"].string_value == "llm"


def test_a_process_that_is_stopped_is_dead(service: Service) -> None:
    others = untouched(service, "echo-embedding.encoder")
    [old] = service.pids("echo-embedding.encoder")
    psutil.Process(old).suspend()
    service.check_until("echo-embedding.encoder is served again")
    assert "it did not answer or compute" in service.said[0]
    assert service.embed("echo-embedding", "a") == 2
    assert untouched(service, "echo-embedding.encoder") == others
    assert not alive(psutil.Process(old))


def test_a_model_that_computes_for_long_is_left_alone(service: Service) -> None:
    before = service.pids("slow.encoder")
    answer: Future[int] = in_background(lambda: service.embed("slow", "compute 10"))
    while not answer.done():  # more than three times as long as silence may last
        service.check()
    assert answer.result() == 2
    assert service.said == []
    assert service.pids("slow.encoder") == before


def test_a_model_that_will_not_stay_up_is_left_out(service: Service) -> None:
    attempts = service.healer._attempts["slow.encoder"] = Restarts()
    for _ in range(MAX_RESTARTS):
        attempts.add()
    others = untouched(service, "")
    for pid in service.pids("slow.encoder"):
        psutil.Process(pid).kill()
    service.check_until("so it is unloaded")
    with pytest.raises(grpc.RpcError, match=r"unknown model|not ready|not found"):
        service.embed("slow", "quick", timeout_s=10)
    assert service.embed("echo-embedding", "a") == 2
    assert untouched(service, "") == others
    service.server.load(["slow"])  # by hand it comes back
    wait_for(lambda: service.embed("slow", "quick") == 2)


def test_a_wanted_unload_is_no_death(service: Service) -> None:
    request = service_pb2.RepositoryModelUnloadRequest(model_name="echo-diffusion.decode")
    service.server.api.RepositoryModelUnload(request, timeout=10)
    wait_for(lambda: not service.pids("echo-diffusion.decode"))
    for _ in range(8):
        service.check()
    assert service.said == []
    service.server.load(["echo-diffusion"])


def test_a_model_that_does_not_load_again_says_why(service: Service) -> None:
    source = service.server.options.repository / "echo-embedding.encoder" / "1" / "model.py"
    good = source.read_text()
    for pid in service.pids("echo-embedding.encoder"):
        psutil.Process(pid).kill()
    source.write_text("raise RuntimeError('no weights')\n")
    try:
        service.check_until("no weights")
    finally:
        source.write_text(good)
    service.check_until("echo-embedding.encoder is served again")
    assert service.embed("echo-embedding", "a") == 2
