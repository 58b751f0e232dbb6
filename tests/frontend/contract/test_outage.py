"""Triton and its models may go and come back under the gateway, which needs no restart."""

from pathlib import Path

import grpc
import httpx2
import pytest
from openai import InternalServerError, NotFoundError, OpenAI
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.echo import EchoTriton, script
from tests.support.gateway import run_gateway
from tests.support.processes import status_of, wait_for


def test_triton_killed_is_a_503_and_recovery_needs_no_restart(
    mortal_triton: EchoTriton, tmp_path: Path
) -> None:
    with (
        run_gateway(mortal_triton.grpc_address, tmp_path / "log") as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        stream = client.chat.completions.create(
            model="echo", messages=script(text="a " * 500, delay_ms=20), stream=True
        )
        next(stream)
        mortal_triton.kill()
        with pytest.raises(Exception, match="not available") as broken:
            list(stream)
        assert getattr(broken.value, "code", None) == "backend_unavailable"
        with pytest.raises(InternalServerError) as refusal:
            client.chat.completions.create(model="echo", messages=script(text="a"))
        assert refusal.value.status_code == 503
        assert refusal.value.response.headers["retry-after"]
        wait_for(lambda: status_of(f"{gateway.url}/readyz") == 503, what="a 503")
        assert status_of(f"{gateway.url}/v1/models") == 503
        assert status_of(f"{gateway.url}/healthz") == 200
        mortal_triton.start()
        wait_for(lambda: status_of(f"{gateway.url}/readyz") == 200, what="recovery")
        wait_for(lambda: status_of(f"{gateway.url}/v1/models/echo") == 200, what="this model's")
        answer = client.chat.completions.create(model="echo", messages=script(text="back"))
        assert answer.choices[0].message.content == "back"


def test_triton_may_start_after_the_gateway(mortal_triton: EchoTriton, tmp_path: Path) -> None:
    """No Triton at all is a clear state, not a reason to die."""
    mortal_triton.kill()
    with run_gateway(mortal_triton.grpc_address, tmp_path / "log", wait_ready=False) as gateway:
        assert status_of(f"{gateway.url}/readyz") == 503
        body = {"model": "echo", "messages": script(text="a")}
        answer = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "backend_unavailable"
        mortal_triton.start()
        wait_for(lambda: status_of(f"{gateway.url}/v1/models/echo") == 200, what="the model")
        assert status_of(f"{gateway.url}/readyz") == 200
        assert httpx2.post(f"{gateway.url}/v1/chat/completions", json=body).status_code == 200


def test_models_come_and_go(mortal_triton: EchoTriton, tmp_path: Path) -> None:
    flags = ("--poll-interval-s", "0.2")
    with (
        run_gateway(mortal_triton.grpc_address, tmp_path / "log", *flags) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client,
        grpc.insecure_channel(mortal_triton.grpc_address) as channel,
    ):
        triton = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        name = "echo-embedding"

        def served() -> bool:
            return name in {model.id for model in client.models.list()}

        assert served()
        triton.RepositoryModelUnload(service_pb2.RepositoryModelUnloadRequest(model_name=name))
        wait_for(lambda: not served(), what="the model's end")
        with pytest.raises(InternalServerError, match="not loaded now") as refusal:
            client.embeddings.create(model=name, input="a")
        assert refusal.value.status_code == 503
        with pytest.raises(NotFoundError):
            client.embeddings.create(model="never-there", input="a")
        triton.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name=name))
        wait_for(served, what="the model's return")
        assert client.embeddings.create(model=name, input="a").data
