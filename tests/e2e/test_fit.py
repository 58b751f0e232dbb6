"""`toolkit fit` tells before what the running engines report after: within 15 %, under load."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import OpenAI

from tests.e2e.conftest import CHAT, EMBEDDING, IMAGE
from tests.support.processes import ROOT, Service, shared_memory
from toolkit.runtime.environments import ensure_environment

WITHIN = 0.15
# the worker adds up what vLLM has loaded, before its CPU kernels repack it
COUNT = """
import sys
import vllm.model_executor.model_loader.base_loader as loader
packing, counts = loader.process_weights_after_loading, []
def count(model, *rest, **more):
    counts.append(sum(each.numel() * each.element_size() for each in model.parameters()))
    return packing(model, *rest, **more)
loader.process_weights_after_loading = count
class Counter:
    def weight_bytes(self):
        return counts[0]
if __name__ == "__main__":
    from vllm import LLM
    llm = LLM(sys.argv[1], dtype=sys.argv[2], enforce_eager=True, max_model_len=128,
              max_num_seqs=1, kv_cache_memory_bytes=64 << 20, worker_extension_cls="count.Counter")
    print("bytes:", llm.collective_rpc("weight_bytes")[0])
"""


@pytest.fixture(scope="module")
def planned() -> dict[str, Any]:
    command = [sys.executable, "-m", "toolkit", "fit", "models.yaml", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode in (0, 1), ran.stderr  # 1: this machine is busy with the very models
    result: dict[str, Any] = json.loads(ran.stdout)
    return result | {model["name"]: model for model in result["models"]}


@pytest.fixture(scope="module")
def busy(service: Service, client: OpenAI) -> Service:
    """The served models after every model has done the most that one step asks of it."""
    for _ in range(3):  # how texts come together in one run is up to the moment
        client.embeddings.create(model=EMBEDDING, input=["word " * 250] * 64)
        client.embeddings.create(model=EMBEDDING, input=["word " * n for n in range(4, 250)])
    client.images.generate(model=IMAGE, prompt="a red heart", n=10)
    long = "tell me something nice " * 400
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ask(client, f"{number} {long}"), range(8)))
    return service


def ask(client: OpenAI, text: str) -> None:
    message = {"role": "user", "content": text}
    client.chat.completions.create(model=CHAT, messages=[message], max_tokens=4)  # type: ignore[list-item]


def processes(service: Service, model: str) -> list[psutil.Process]:
    """The Python stubs of a model's steps, and what they have started."""
    stubs = [process for process in service.named(f"{model}.") if "stub" in process.name()]
    return [each for stub in stubs for each in (stub, *stub.children(recursive=True))]


def resident_bytes(members: list[psutil.Process]) -> int:
    """Memory in use; pages that several processes map are shared out among them (PSS)."""
    return sum(process.memory_full_info().pss for process in members)


def test_the_kv_cache_is_what_vllm_says(planned: dict[str, Any], busy: Service) -> None:
    said = re.findall(r"KV cache size: ([\d,]+) tokens.*: ([\d.]+)x", busy.triton_log)
    tokens, requests = int(said[-1][0].replace(",", "")), float(said[-1][1])
    cache = planned[CHAT]["cache"]
    assert cache["tokens"] == pytest.approx(tokens, rel=WITHIN)
    assert cache["requests"] == pytest.approx(requests, rel=WITHIN)
    gib = re.findall(r"Explicitly set \(([\d.]+)/", busy.triton_log)
    assert cache["bytes"] / 2**30 == pytest.approx(float(gib[-1]), rel=WITHIN)
    assert cache["bytes"] / tokens == pytest.approx(cache["bytes_per_token"], rel=0.01)


def test_weights_are_what_vllm_holds(planned: dict[str, Any], repository: Path) -> None:
    python = ensure_environment("vllm") / "bin" / "python"
    script = repository.parent / "count.py"
    script.write_text(COUNT)
    dtype = "float32" if planned[CHAT]["precision"] == "float32" else "bfloat16"
    weights = repository / f"{CHAT}.engine" / "1" / "weights"
    ran = subprocess.run(
        [str(python), str(script), str(weights), dtype],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(Path.home()),
            "HF_HUB_OFFLINE": "1",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process imports vLLM, not two
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        },
    )
    counted = re.search(r"^bytes: (\d+)$", ran.stdout, re.MULTILINE)
    assert counted, ran.stderr[-4000:]
    assert planned[CHAT]["weights_bytes"] == pytest.approx(int(counted[1]), rel=WITHIN)


@pytest.mark.parametrize("model", [CHAT, EMBEDDING, IMAGE])
def test_memory_of_every_model(planned: dict[str, Any], busy: Service, model: str) -> None:
    used = resident_bytes(processes(busy, model))
    assert planned[model]["host_bytes"] == pytest.approx(used, rel=WITHIN)


def test_memory_and_shared_memory_of_all(planned: dict[str, Any], busy: Service) -> None:
    assert planned["host_bytes"] == pytest.approx(resident_bytes(busy.family()), rel=WITHIN)
    reserved = sum(path.stat().st_size for path in shared_memory(busy.family()))
    assert planned["shm_bytes"] == pytest.approx(reserved, rel=WITHIN)
