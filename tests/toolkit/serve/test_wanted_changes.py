"""A supervised service distinguishes models that are unloaded or reloaded from those that die."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openai import InternalServerError, OpenAI

from tests.support.echo import script
from tests.support.processes import ROOT, Service, served, status_of, wait_for

NAME = "echo-embedding"


def models(service: Service, *arguments: str) -> Any:
    command = [sys.executable, "-m", "toolkit", "models", *arguments]
    command += ["--port", str(service.port), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=90)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def loaded(service: Service) -> set[str]:
    return {each["model"] for each in models(service, "list") if each["serving"]}


def test_a_wanted_change_restarts_nothing_and_a_restart_keeps_it(
    echo_repository: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(echo_repository, repository, symlinks=True)
    with (
        served(repository, tmp_path / "log", timeout_s=60) as service,
        OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        (triton,) = [p for p in service.named("tritonserver") if p.name() == "tritonserver"]
        stream = client.chat.completions.create(
            model="echo", messages=script(text="a " * 60, delay_ms=50), stream=True
        )
        next(stream)
        assert models(service, "unload", NAME)["unloaded"] == [NAME, f"{NAME}.encoder"]
        with pytest.raises(InternalServerError, match=r"not (loaded|available) now") as refused:
            client.embeddings.create(model=NAME, input="a")
        assert refused.value.status_code == 503
        assert refused.value.response.headers["retry-after"]
        assert len(list(stream)) >= 60  # the other model went on
        wait_for(lambda: f"{NAME} was unloaded" in service.log.read_text(), what="a note")
        first = stubs(service, "echo-diffusion.decode")
        assert models(service, "reload", "echo-diffusion")["state"] == "ready"
        wait_for(
            lambda: stubs(service, "echo-diffusion.decode").isdisjoint(first), what="a new one"
        )
        assert triton.is_running()
        wait_for(lambda: notes(service, "unloaded") == notes(service, "loaded"), what="a look")
        triton.kill()
        wait_for(lambda: "Triton is running again" in service.log.read_text(), what="recovery")
        assert loaded(service) == {"echo", "echo-diffusion"}
        assert models(service, "load", NAME)["serving"] == [1]
        wait_for(lambda: status_of(f"{service.url}/v1/models/{NAME}") == 200, what="its return")
        assert client.embeddings.create(model=NAME, input="a").data
        assert service.log.read_text().count("restarting") == 1


def notes(service: Service, what: str) -> int:
    return service.log.read_text().count(f"echo-diffusion was {what}")


def stubs(service: Service, model: str) -> set[int]:
    found = service.named("triton_python_backend_stub")
    return {process.pid for process in found if f"/{model}/" in " ".join(process.cmdline())}
