"""The whole chain against vLLM's own OpenAI server: same engine arguments, same environment.

Both servers are up for the whole run and idle in turns. Streams of 64 tokens with `ignore_eos`, at
temperature 0, with 1, 8 and 32 in flight. What differs by design: ours waits asleep where vLLM's
scheduler waits awake (python_backends/vllm_engine/executor.py). The time to the first token is
taken from streams of 4 tokens.
"""

import asyncio
import json
import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.loopback import Answer, run_load
from benchmarks.pairs import Ratio, compare
from python_backends.vllm_engine.machine import EXECUTOR, fit_to_cpu
from tests.support.processes import free_port, status_of, wait_for
from toolkit.runtime.environments import CUDA, ensure_environment
from toolkit.serve.child import Child, Command, clean_environment
from toolkit.serve.models import ServedModel

TOKENS = 64
SHORT = 4
"""Tokens of the streams of which only the first token counts."""
FIRST_ROUNDS = {1: 12, 8: 2, 32: 1}
"""Streams in flight -> rounds for the time to the first token, for each round of whole streams."""


def measure(
    ours_port: int,
    model: ServedModel,
    repository: Path,
    rounds: int,
    *,
    streams: Sequence[int] = (1, 8),
    cuda: bool = False,
) -> list[Ratio]:
    """Ratios of tokens/s and of the time to first token, ours over vLLM's server."""
    ratios = []
    with vllm_server(repository, model.name, cuda=cuda) as peer_port:
        for count in streams:
            rates = [partial(_rate, port, model.name, count) for port in (ours_port, peer_port)]
            firsts = [partial(_first, port, model.name, count) for port in (ours_port, peer_port)]
            ratios += compare(rates[0], rates[1], rounds)
            ratios += compare(firsts[0], firsts[1], rounds * FIRST_ROUNDS.get(count, 1))
    return ratios


def _rate(port: int, model: str, streams: int) -> dict[str, float]:
    _, wall_s = run_streams(port, model, streams, TOKENS)
    return {f"tokens/s, {streams} streams": streams * TOKENS / wall_s}


def _first(port: int, model: str, streams: int) -> dict[str, float]:
    answers, _ = run_streams(port, model, streams, SHORT)
    median = statistics.median(answer.first_s for answer in answers)
    return {f"time to first token, {streams} streams (s)": median}


def run_streams(port: int, model: str, streams: int, tokens: int) -> tuple[list[Answer], float]:
    """Streams side by side: their answers, and how long all of them took in seconds."""
    bodies = [
        {
            "model": model,
            "messages": [{"role": "user", "content": f"Tell me a story about number {number}."}],
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "ignore_eos": True,
        }
        for number in range(streams)
    ]
    return asyncio.run(run_load(port, "/v1/chat/completions", bodies, streams))


@contextmanager
def vllm_server(repository: Path, model: str, *flags: str, cuda: bool = False) -> Iterator[int]:
    """vLLM's own OpenAI server over the very weights and engine arguments of `model`."""
    port = free_port()
    engine = repository / f"{model}.engine"
    arguments = _engine_arguments(engine, cuda=cuda)
    name = CUDA["vllm"] if cuda else "vllm"
    argv = [str(ensure_environment(name) / "bin" / "python"), "-m"]
    argv += ["vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--served-model-name", model, "--no-enable-log-requests", *arguments, *flags]
    environment = clean_environment(
        HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", **_engine_environment(engine)
    )
    with TemporaryDirectory() as scratch, _child(argv, environment, Path(scratch)) as child:
        url = f"http://127.0.0.1:{port}/health"
        wait_for(lambda: status_of(url) == 200 or child.exit_code is not None, 300, "vLLM")
        if child.exit_code is not None:
            raise RuntimeError(f"vLLM's server ended:\n{child.log_tail(200)}")
        yield port


@contextmanager
def _child(argv: list[str], environment: dict[str, str], folder: Path) -> Iterator[Child]:
    child = Child(Command(argv, folder / "log", environment, folder))
    try:
        yield child
    finally:
        child.end()


def _engine_arguments(engine: Path, *, cuda: bool) -> list[str]:
    """The config's `engine` parameter as command-line flags."""
    values = json.loads(_parameter(engine, "engine"))
    if not cuda:  # what the engine decides by this machine's CPU, the peer gets as well
        values = fit_to_cpu({**json.loads(_parameter(engine, "engine_cpu") or "{}"), **values})
        if values["distributed_executor_backend"] == EXECUTOR:  # ours, and the peer has its own
            del values["distributed_executor_backend"]
    flags = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if name in {"model", "tokenizer"}:
            flags += [flag, str(engine / "1" / value)]
        elif isinstance(value, bool):
            flags += [flag if value else f"--no-{name.replace('_', '-')}"]
        else:
            flags += [flag, json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags


def _engine_environment(engine: Path) -> dict[str, str]:
    text = _parameter(engine, "environment")
    threads = ("VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS")  # set by fit_to_cpu
    chosen = {name: os.environ[name] for name in threads if name in os.environ}
    return chosen | {name: str(value) for name, value in json.loads(text or "{}").items()}


def _parameter(engine: Path, key: str) -> str:
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    config = text_format.Parse((engine / "config.pbtxt").read_text(), ModelConfig())
    return str(config.parameters[key].string_value)
