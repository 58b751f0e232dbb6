"""`toolkit serve` as a whole: it says what it serves, and kill -9 leaves nothing."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import APIError, OpenAI

from tests.e2e.conftest import CHAT, EMBEDDING, IMAGE
from tests.support.echo import script
from tests.support.processes import (
    ROOT,
    Service,
    alive,
    free_port,
    served,
    shared_memory,
    status_of,
    wait_for,
)
from toolkit.home import home

PROMPT_S = 25
"""5 s on a machine with nothing else to do; Triton itself would take 30 s in each of these."""


def test_every_served_model_is_listed(client: OpenAI) -> None:
    listed = {model.id for model in client.models.list()}
    assert {CHAT, EMBEDDING, IMAGE} <= listed
    assert client.models.retrieve(CHAT).id == CHAT


def test_it_says_what_to_try(service: Service) -> None:
    example = f"127.0.0.1:{service.port}/v1/chat/completions"
    wait_for(
        lambda: example in service.log.read_text(), what="the example"
    )  # said once it is ready
    said = service.log.read_text()
    for name in (CHAT, EMBEDDING, IMAGE):
        assert name in said


def test_weights_lie_in_huge_pages_where_there_are_any(service: Service) -> None:
    offered = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not offered.exists() or "[never]" in offered.read_text():
        pytest.skip("this kernel has no transparent huge pages")
    [encoder] = service.named(f"{EMBEDDING}.encoder")
    maps = Path(f"/proc/{encoder.pid}/smaps").read_text()
    assert re.search(r"^VmFlags:.* hg\b", maps, re.MULTILINE), "nothing was asked for"


def test_health_routes(service: Service) -> None:
    assert status_of(f"{service.url}/healthz") == 200
    assert status_of(f"{service.url}/readyz") == 200


def test_kill_9_of_the_serving_parent_leaves_nothing(echo_repository: Path, tmp_path: Path) -> None:
    with served(echo_repository, tmp_path / "log") as service:
        family = service.family()
        left = shared_memory(family)
        assert left
        words = [word for process in family for word in process.cmdline()]
        socket_path = next(word for word in words if word.startswith("unix:/"))
        left.add(Path(socket_path.removeprefix("unix:")).parent)
        os.kill(service.process.pid, signal.SIGKILL)
        wait_for(lambda: not any(map(alive, family)), what="the end of the whole family")
    wait_for(lambda: status_of(f"{service.url}/healthz") == 0, what="a closed port")
    assert not [path for path in left if path.exists()]


def test_it_stops_with_its_parent_when_asked_to(echo_repository: Path, tmp_path: Path) -> None:
    port = free_port()
    serve = [sys.executable, "-m", "toolkit", "serve", str(echo_repository), "--port", str(port)]
    parent = f"import subprocess, sys; subprocess.run({[*serve, '--stop-with-parent']!r})"
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=ROOT, stderr=subprocess.DEVNULL
    ) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: status_of(f"{url}/readyz") == 200, what="serving")
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    wait_for(lambda: not any(map(alive, family)), what="the end of the whole family")


def _toolkit(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "toolkit", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120
    )


@pytest.fixture
def background_port() -> Iterator[str]:
    """A free port; the service that a test leaves there in the background is stopped."""
    port = str(free_port())
    yield port
    _toolkit("stop", "--port", port)


def test_a_service_in_the_background_is_listed_and_stopped_in_order(
    echo_repository: Path, background_port: str
) -> None:
    port = background_port
    started = _toolkit("serve", str(echo_repository), "--port", port, "--detach")
    assert started.returncode == 0, started.stderr
    assert "echo (llm)" in started.stderr
    assert f"`toolkit stop --port {port}` stops the service" in started.stderr
    assert status_of(f"http://127.0.0.1:{port}/readyz") == 200
    again = _toolkit("serve", str(echo_repository), "--port", port, "--detach")
    assert again.returncode == 1
    assert f"`toolkit serve` of {echo_repository} (process " in again.stderr
    listed = _toolkit("ps", "--json")
    [own] = [each for each in json.loads(listed.stdout) if each["port"] == int(port)]
    assert (own["state"], own["url"]) == ("ready", f"http://127.0.0.1:{port}")
    assert {each["model"]: each["state"] for each in own["models"]}["echo"] == "ready"
    assert own["models"][0]["size_bytes"] > 0
    logged = _toolkit("logs", "echo", "--port", port, "-n", "0")
    assert "triton | " in logged.stdout
    assert "successfully loaded 'echo.engine'" in logged.stdout
    assert "successfully loaded 'echo-embedding'" not in logged.stdout
    assert (Path(own["logs"]) / "models" / "echo.engine.log").exists()
    wrong = _toolkit("logs", "ecko", "--port", port)
    assert wrong.returncode == 1
    assert "did you mean 'echo'?" in wrong.stderr
    stopped = _toolkit("stop", "--port", port)
    assert stopped.returncode == 0
    assert f"stopped the service on port {port}" in stopped.stderr
    assert status_of(f"http://127.0.0.1:{port}/readyz") == 0
    last = _toolkit("logs", "--port", port)
    assert f"service on port {port} has ended" in last.stderr
    assert "service | " in last.stdout.splitlines()[-1]
    assert last.stdout.endswith("stopped\n")


def test_impatient_signals_end_it_at_once(echo_repository: Path, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "toolkit", "serve", str(echo_repository), "--port", str(port)]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, cwd=ROOT)
    service = Service(process, port, log)
    try:
        wait_for(lambda: "load models" in log.read_text(), what="loading")
        family = service.family()
        [guard] = service.named("guard.py")
        guard.suspend()  # so that the end takes long enough to be interrupted
        for _ in range(4):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        guard.resume()
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: not any(map(alive, family)), what="the end of the whole family")


def test_a_taken_port_is_a_clear_error(echo_repository: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "toolkit", "serve", str(echo_repository), "--port", port]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode == 1
    said = " ".join(ran.stderr.split())
    assert f"cannot listen on 127.0.0.1:{port}: process {os.getpid()} uses it" in said
    assert "--port" in ran.stderr
    assert "load" not in ran.stderr


def test_a_killed_triton_is_a_clear_503_and_comes_back(
    echo_repository: Path, tmp_path: Path
) -> None:
    with served(echo_repository, tmp_path / "log") as service:
        (triton,) = [p for p in service.named("tritonserver") if p.name() == "tritonserver"]
        triton.kill()
        wait_for(lambda: status_of(f"{service.url}/readyz") == 503, what="a 503")
        wait_for(lambda: status_of(f"{service.url}/readyz") == 200, what="recovery")


def test_a_triton_that_dies_while_it_loads_is_started_again(
    echo_repository: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(echo_repository, own, symlinks=True)

    def loading() -> list[psutil.Process]:
        """The server of this repository, once it starts a model's Python."""
        parents = []
        for each in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # or a zombie, which has no command line
                if each.name().startswith("triton_python") and str(own) in " ".join(each.cmdline()):
                    parents.append(each.parent())
        return [parent for parent in parents if parent]

    def kill() -> None:
        wait_for(lambda: bool(loading()), what="a model that loads")
        loading()[0].kill()

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill)
        with served(own, tmp_path / "log") as service:
            killing.result()
            assert "loading again" in service.log.read_text()


def test_a_dead_engine_alone_is_replaced_and_its_stream_ends(
    echo_repository: Path, tmp_path: Path
) -> None:
    with (
        served(echo_repository, tmp_path / "log") as service,
        OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        triton, engine = service.named("tritonserver"), service.named("/echo.engine/")
        stream = client.chat.completions.create(
            model="echo", messages=script(text="a b", delay_ms=600_000), stream=True, timeout=60
        )
        next(stream)
        [process] = engine
        process.kill()
        with pytest.raises(APIError, match="was restarted"):
            list(stream)
        wait_for(
            lambda: "echo.engine is served again" in service.log.read_text(), what="the word of it"
        )
        answer = client.chat.completions.create(model="echo", messages=script(text="a b"))
        assert answer.choices[0].message.content == "a b"
        assert service.named("tritonserver") == triton
        assert "; restarting\n" not in service.log.read_text()


def test_a_gateway_that_hangs_is_started_anew(echo_repository: Path, tmp_path: Path) -> None:
    with served(
        echo_repository, tmp_path / "log", "--gateway-timeout-s", "2", timeout_s=60
    ) as service:
        wait_for(lambda: "Ready at" in service.log.read_text(), what="its watch")
        command = ["-P", "-m", "frontend"]  # its guard has that further back
        [gateway] = [p for p in service.named("--health-socket") if p.cmdline()[1:4] == command]
        gateway.suspend()
        wait_for(lambda: "did not answer for 2 s" in service.log.read_text(), what="a restart")
        wait_for(lambda: status_of(f"{service.url}/readyz") == 200, what="its return")
        assert not alive(gateway)
        assert "Triton is running again" not in service.log.read_text()


def test_ctrl_c_ends_an_idle_service_promptly(echo_repository: Path, tmp_path: Path) -> None:
    with served(echo_repository, tmp_path / "log") as service:
        [engine] = service.named("/echo.engine/")
        engine.kill()  # from then on Triton itself would not end before its exit timeout
        wait_for(
            lambda: "echo.engine is served again" in service.log.read_text(), what="its return"
        )
        started = time.monotonic()
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(60) == 0
        assert time.monotonic() - started < PROMPT_S


def test_ctrl_c_ends_a_service_with_running_requests_promptly(
    echo_repository: Path, tmp_path: Path
) -> None:
    with (
        served(echo_repository, tmp_path / "log") as service,
        OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        stream = client.chat.completions.create(
            model="echo", messages=script(text="a b", delay_ms=600_000), stream=True, timeout=60
        )
        next(stream)
        started = time.monotonic()
        service.process.send_signal(signal.SIGINT)
        with pytest.raises(APIError, match="shutting down"):
            list(stream)
        assert service.process.wait(60) == 0
        assert time.monotonic() - started < PROMPT_S
        assert "for running requests" in service.log.read_text()


def test_ctrl_c_while_models_load_ends_it_at_once(echo_repository: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(echo_repository, own, symlinks=True)
    source = own / "echo.engine" / "1" / "model.py"
    source.write_text(f"import time\ntime.sleep(600)\n{source.read_text()}")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "toolkit", "serve", str(own), "--port", str(free_port())]
    with (
        log.open("wb") as sink,
        subprocess.Popen(command, stdout=sink, stderr=sink, cwd=ROOT) as process,
    ):
        wait_for(lambda: "load models" in log.read_text(), what="loading")
        family = psutil.Process(process.pid).children(recursive=True)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert time.monotonic() - started < PROMPT_S
    assert not any(map(alive, family))
    assert "stopped" in log.read_text()


def _models_at(port: int) -> list[dict[str, Any]]:
    services = json.loads(_toolkit("ps", "--json").stdout)
    return next(each["models"] for each in services if each["port"] == port)


def test_a_model_that_does_not_load_is_left_out_and_named(
    echo_repository: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(echo_repository, own, symlinks=True)
    source = own / "echo.engine" / "1" / "model.py"
    source.write_text("raise RuntimeError('the weights are gone')\n")
    # its step loads, it does not
    config = own / "echo-diffusion" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: 1\n", "dims: 7\n"))
    with served(own, tmp_path / "log") as service:
        said = " ".join(service.log.read_text().split())
        assert "echo cannot be loaded and is not served: RuntimeError: the weights are gone" in said
        assert status_of(f"{service.url}/v1/models/echo-embedding") == 200
        assert status_of(f"{service.url}/v1/models/echo") == 404
        # nor are the steps that could be loaded
        assert [each["model"] for each in _models_at(service.port)] == ["echo-embedding"]
        status = _toolkit("models", "status", "echo", "--port", str(service.port))
        assert status.returncode == 1
        assert "echo.engine: failed" in status.stderr
        assert "the weights are gone" in status.stderr
    strict = [sys.executable, "-m", "toolkit", "serve", str(own), "--port", str(free_port())]
    ran = subprocess.run(
        [*strict, "--strict"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 1
    assert "RuntimeError: the weights are gone" in ran.stderr


def test_what_a_service_writes_is_its_owners_alone(service: Service) -> None:
    logs = home() / "logs" / str(service.port)
    for path in (logs, logs / "triton.log", logs / "gateway.log", *shared_memory(service.family())):
        assert path.stat().st_mode & 0o077 == 0, path
    states = [
        Path(f"/proc/{p.pid}/status").read_text()
        for p in service.family()
        if p.pid != service.process.pid
    ]
    # a process that has ended and was not waited for has no such line
    umasks = {found[1] for state in states if (found := re.search(r"^Umask:\s+(\d+)", state, re.M))}
    assert umasks == {"0077"}
