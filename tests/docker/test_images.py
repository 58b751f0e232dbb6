"""Every image is built and started; the CPU image serves the default models."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.docker.images import Images, missing
from tests.support.processes import ROOT, free_port, status_of, wait_for
from tests.support.repository import echo_repository
from toolkit.runtime.triton import ensure_triton

pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(1800),
]

READY_S = 600


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    store = Images(tmp_path_factory.mktemp("images"))
    try:
        store.make_base()
        yield store
    finally:
        store.remove()


@pytest.fixture(scope="module")
def frontend(images: Images) -> str:
    return images.build("frontend", "localhost/base")


@pytest.fixture(scope="module")
def cpu(images: Images) -> str:
    return images.build("cpu", "localhost/base")


@pytest.fixture
def echoes(tmp_path: Path) -> Path:
    """The echo models, readable by everybody."""
    repository = tmp_path / "models"
    repository.mkdir()
    echo_repository(repository)
    subprocess.run(["chmod", "-R", "a+rX", str(tmp_path)], check=True)
    return repository


def test_the_gateways_image_is_small(images: Images, frontend: str) -> None:
    slim = 130 * 10**6  # what the real base takes; ours has more of Debian
    own = images.size_bytes(frontend) - images.size_bytes("localhost/base")
    assert slim + own < 300 * 10**6
    assert images.config(frontend)["User"] == "10001:10001"
    assert "Healthcheck" in images.config(frontend)


def test_the_cpu_image_serves_the_default_models(images: Images, cpu: str, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    command = [sys.executable, "-m", "toolkit", "build-repo", "--output", str(repository)]
    subprocess.run(command, check=True, cwd=ROOT)
    subprocess.run(["chmod", "-R", "a+rX", str(tmp_path)], check=True)
    port = free_port()
    arguments = ["--host", "127.0.0.1", "--port", str(port)]
    volumes = {repository: "/models"}
    with images.container(cpu, arguments, volumes, tmp_path / "log") as container:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(
                lambda: status_of(f"{url}/readyz") == 200 or container.process.poll() is not None,
                READY_S,
                "the container",
            )
        except AssertionError:
            pytest.fail(container.told())
        assert container.process.poll() is None, container.log.read_text()
        assert {process.uids().real for process in container.inside()} == {10001}
        with OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as sdk:
            question = {"role": "user", "content": "What is the capital of France?"}
            answer = sdk.chat.completions.create(
                model="smollm2",
                messages=[question],  # type: ignore[list-item]
                temperature=0,
            )
            assert "Paris" in str(answer.choices[0].message.content)
            vectors = sdk.embeddings.create(model="minilm", input="a cat")
            assert len(vectors.data[0].embedding) == 384
            assert sdk.images.generate(model="emoji", prompt="a red heart").data
        assert container.stop() == 0
    assert not list(repository.glob(".environments")), "it was mounted read-only"


def test_triton_and_the_gateway_meet_across_containers(
    images: Images, cpu: str, frontend: str, echoes: Path, tmp_path: Path
) -> None:
    triton_port, port = free_port(), free_port()
    triton = ["--triton-only", "--host", "127.0.0.1", "--triton-port", str(triton_port)]
    gateway = ["--host", "127.0.0.1", "--port", str(port)]
    gateway += ["--triton", f"127.0.0.1:{triton_port}"]
    with (
        images.container(cpu, triton, {echoes: "/models"}, tmp_path / "triton") as server,
        images.container(frontend, gateway, {}, tmp_path / "gateway") as front,
    ):
        _echoes(port, [server.log, front.log])
        assert front.stop() == 0
        assert server.stop() == 0


def test_the_gpu_hosts_image_serves_on_a_base_like_nvidias(
    images: Images, frontend: str, echoes: Path, tmp_path: Path
) -> None:
    base = _triton_base(images, tmp_path)
    image = images.build("triton", base)
    for config in echoes.glob("*/config.pbtxt"):  # there the server's own Python has all packages
        text = config.read_text()
        start = text.find('parameters {\n  key: "EXECUTION_ENV_PATH"')
        end = text.find("\n}\n", start) + len("\n}\n")
        config.write_text(text if start < 0 else text[:start] + text[end:])
    grpc, http, metrics, port = (free_port() for _ in range(4))
    arguments = ["--grpc-address=127.0.0.1", f"--grpc-port={grpc}", f"--http-port={http}"]
    arguments += ["--metrics-address=127.0.0.1", f"--metrics-port={metrics}"]
    gateway = ["--host", "127.0.0.1", "--port", str(port), "--triton", f"127.0.0.1:{grpc}"]
    with (
        images.container(image, arguments, {echoes: "/models"}, tmp_path / "triton") as server,
        images.container(frontend, gateway, {}, tmp_path / "gateway") as front,
    ):
        _echoes(port, [server.log, front.log])
        assert front.stop() == 0
        assert server.stop() == 0


def _echoes(port: int, logs: list[Path]) -> None:
    url = f"http://127.0.0.1:{port}"
    try:
        # ready it is with the first model; Triton may still load this one
        wait_for(lambda: status_of(f"{url}/v1/models/echo") == 200, what="the model")
    except AssertionError:
        pytest.fail("\n".join(log.read_text() for log in logs))
    with OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as sdk:
        answer = sdk.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "hello"}]
        )
        assert answer.choices[0].message.content


def _triton_base(images: Images, scratch: Path) -> str:
    """The embedded server where NVIDIA's images have theirs."""
    runtime = ensure_triton().root
    server = scratch / "tritonserver"
    server.write_text(
        "#!/bin/sh\ncd /opt/tritonserver || exit\nexport LD_LIBRARY_PATH=$PWD/lib\n"
        'exec bin/tritonserver --backend-directory="$PWD/backends" "$@"\n'
    )
    server.chmod(0o755)
    shutil.copytree(runtime, scratch / "runtime")
    subprocess.run(["chmod", "-R", "a+rX", str(scratch)], check=True)
    files = {scratch / "runtime": "/opt/tritonserver", server: "/usr/local/bin/tritonserver"}
    return images.commit("localhost/base", "triton-base", files)
