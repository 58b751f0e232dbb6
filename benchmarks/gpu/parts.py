"""The parts of the run. Each returns rows: what was measured → a number, a text or a yes."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks import chain, embeddings
from benchmarks.gpu.diffusion import measure as measure_diffusion
from benchmarks.gpu.direct import remote
from benchmarks.gpu.models import default_entries, share, speed_entry, write_random_llama
from benchmarks.gpu.run import CHAT, IMAGES, SPEED, VECTORS, Run, gpu_processes
from benchmarks.loopback import run_load
from benchmarks.pairs import Ratio
from tests.support.processes import ROOT, Service, alive, wait_for
from toolkit.runtime.environments import CUDA, ensure_environment
from toolkit.serve.models import public_models

Rows = dict[str, Any]


def serve(run: Run) -> Rows:
    """Chat, embeddings and images answer."""
    repository = run.build("default", default_entries(run))
    started = time.monotonic()
    with run.serving(repository) as service:
        rows: Rows = {"seconds to start": round(time.monotonic() - started, 1)}
        text = _chat(service, CHAT, "What is the capital of France?")
        rows["chat says"] = text
        rows["chat is right"] = "Paris" in text
        body = {"model": VECTORS, "input": "a cat"}
        rows["vector length"] = len(_post(service, "/v1/embeddings", body)["data"][0]["embedding"])
        body = {"model": IMAGES, "prompt": "a red heart", "n": 1}
        rows["image bytes"] = len(
            _post(service, "/v1/images/generations", body)["data"][0]["b64_json"]
        )
        if run.cuda:
            held = gpu_processes()
            rows["processes on the GPU"] = len(held)
            rows["MiB on the GPU"] = sum(held.values())
    return rows


def quantize(run: Run) -> Rows:
    """`toolkit quantize` on the device, and both results served side by side."""
    methods = ("awq", "fp8") if run.cuda else ("awq", "int8")
    source = run.folder / "default" / f"{CHAT}.engine" / "1" / "weights"
    rows: Rows = {}
    entries = ""
    for method in methods:
        output = run.folder / f"chat-{method}"
        sizes = ["--samples", "4", "--length", "64", "--search", "4"] if run.small else []
        limits = ["--max-ppl-ratio", "1000", "--max-kl", "100", "--no-engine"]
        started = time.monotonic()
        run.toolkit(
            "quantize",
            str(source),
            f"--{method}",
            "-o",
            str(output),
            *sizes,
            *limits,
            "--device",
            run.device,
        )
        rows[f"{method}: seconds to quantize"] = round(time.monotonic() - started, 1)
        entries += f"  chat-{method}:\n    kind: llm\n    source: path:{output}\n"
        entries += f"    context_length: 512\n{share(run, 0.2)}"
    with run.serving(run.build("quantized", entries)) as service:
        for method in methods:
            text = _chat(service, f"chat-{method}", "What is the capital of France?")
            rows[f"{method}: says"] = text
    return rows


def against_vllm(run: Run) -> Rows:
    """The chain against vLLM's own server: tokens per second and the first token."""
    tokenizer = run.folder / "default" / f"{CHAT}.prompt" / "1" / "tokenizer"
    weights = write_random_llama(run, tokenizer)
    repository = run.build("speed", speed_entry(run, weights))
    model = next(each for each in public_models(repository) if each.name == SPEED)
    streams, rounds = ((1, 4), 2) if run.small else ((1, 16, 64), 5)
    with run.serving(repository) as service:
        ratios = chain.measure(
            service.port, model, repository, rounds, streams=streams, cuda=run.cuda
        )
    return _ratios(ratios)


def graphs(run: Run) -> Rows:
    """The encoder against onnxruntime, the images against diffusers, both on the device."""
    repository = run.folder / "default"
    rounds = 2 if run.small else 5
    encoder, tokenizer = embeddings.places(repository, VECTORS)
    with ExitStack() as stack:
        service = stack.enter_context(run.serving(repository))
        peer = None
        if run.cuda:
            python = ensure_environment(CUDA["onnx"]) / "bin" / "python"
            peer = stack.enter_context(remote(python, encoder, tokenizer, ROOT))
        ratios = embeddings.measure(service.port, VECTORS, repository, rounds, peer)
        ratios += measure_diffusion(service.port, rounds, cuda=run.cuda)
    return _ratios(ratios)


def endings(run: Run) -> Rows:
    """Clients that go away, and a killed supervisor, leave nothing: no process, no GPU memory."""
    before = gpu_processes()
    with_kill: Rows = {}
    context = run.serving(run.folder / "default")
    service = context.__enter__()
    try:
        asyncio.run(_leave(service.port))
        text = _chat(service, CHAT, "What is the capital of France?")
        with_kill["answers after 8 clients left"] = bool(text)
        family = service.family()
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait(30)
        started = time.monotonic()
        wait_for(lambda: not any(map(alive, family)), 60, "the end of every process")
        with_kill["seconds until all processes ended"] = round(time.monotonic() - started, 1)
    finally:
        context.__exit__(None, None, None)
    left = {pid: used for pid, used in gpu_processes().items() if pid not in before}
    with_kill["MiB left on the GPU"] = sum(left.values()) if run.cuda else "no GPU"
    return with_kill


PARTS: dict[str, Callable[[Run], Rows]] = {
    "serve": serve,
    "quantize": quantize,
    "vllm": against_vllm,
    "graphs": graphs,
    "endings": endings,
}


def _post(service: Service, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answers, _ = asyncio.run(run_load(service.port, path, [body], 1))
    found = json.loads(answers[0].body)
    assert isinstance(found, dict)
    return found


def _chat(service: Service, model: str, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 16}
    answer = _post(service, "/v1/chat/completions", body)
    return str(answer["choices"][0]["message"]["content"])


async def _leave(port: int) -> None:
    """Eight clients that ask for a long answer and hang up after its first bytes."""
    body = {"model": CHAT, "messages": [{"role": "user", "content": "Tell me a long story."}]}
    data = json.dumps({**body, "max_tokens": 1000, "stream": True, "ignore_eos": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + data)
        await reader.read(64)
        writer.close()

    await asyncio.gather(*(one() for _ in range(8)))


def _ratios(ratios: list[Ratio]) -> Rows:
    return {
        ratio.name: {
            "ratio": round(ratio.median, 3),
            "low": round(ratio.low, 3),
            "high": round(ratio.high, 3),
            "ours": round(ratio.ours, 4),
            "peer": round(ratio.peer, 4),
        }
        for ratio in ratios
    }
