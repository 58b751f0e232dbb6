"""Engine arguments that depend on the machine's CPU: number type, threads and thread binding.

A repository is the same on every machine, so these are chosen when the model is loaded. Values in
the configuration take precedence.
"""

import json
import os
from pathlib import Path
from typing import Any

from python_backends.cores import count_cores, has_avx512

UNPACKING = "python_backends.vllm_engine.dequantize.WorkerExtension"
"""Where there is no AVX-512, vLLM has no kernel for 4-bit weights either."""

EXECUTOR = "python_backends.vllm_engine.executor.SleepingExecutor"

UNBOUND = "nobind"

_HALF = {"awq", "gptq"}
"""Methods whose layers vLLM builds only for 16-bit numbers."""


def fit_to_cpu(arguments: dict[str, Any]) -> dict[str, Any]:
    """Engine arguments for this machine's CPU; threads are set in the environment for children.

    Without AVX-512 bfloat16 is emulated: SmolLM2-135M, 8 streams, 2 AVX2 cores: float32 80
    tokens/s, float16 30, bfloat16 25; time to the first token 0.15, 0.70, 0.83 s.
    """
    set_threads()
    arguments = {"distributed_executor_backend": EXECUTOR, **arguments}
    if has_avx512():
        return arguments
    if method := _quantization(arguments):
        arguments = {"worker_extension_cls": UNPACKING, **arguments}
    return {"dtype": "float16" if method in _HALF else "float32", **arguments}


def set_threads() -> None:
    """Sets in the environment how many threads compute, and that they are not bound to cores.

    vLLM's own binding puts the first thread of every engine on the same core, so engines side by
    side would share one; bound threads that wait for a busy core also hold up all others: with a
    thread per core and a neighbour at work throughput fell from 80 to 20 tokens/s.
    """
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", UNBOUND)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, count_cores() - 1)))


def _quantization(arguments: dict[str, Any]) -> str | None:
    """The quantization method in the model's config; None for a model that is not quantized."""
    config = Path(str(arguments.get("model")), "config.json")
    if not config.exists():
        return None
    about = json.loads(config.read_text()).get("quantization_config")
    return str(about.get("quant_method")) if isinstance(about, dict) else None
