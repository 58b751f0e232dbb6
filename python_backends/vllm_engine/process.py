"""What must be true of the stub's process before vLLM is imported into it.

Triton's stub embeds an interpreter that ignores PYTHONUTF8 and starts with ASCII, in which torch
fails to read its own sources; and vLLM reads its settings from the environment at import.
"""

import io
import locale
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # fork would copy the stub's threads and locks, and keep its environment (see reaper.py)
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}


def prepare_process(environment: Mapping[str, Any], gpus: Sequence[int] = ()) -> None:
    """Sets the encoding and the environment; the model's own variables win over the defaults.

    `gpus` are those that `toolkit serve` placed the model on. FlashInfer's sampler is compiled when
    it is first used, which a host without CUDA's compiler cannot do; vLLM has another one.
    """
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
        if not (shutil.which("nvcc") and shutil.which("c++")):
            os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.update({name: str(value) for name, value in environment.items()})
    # children would honour them and the stub does not: they must see the same modules
    for name in ("PYTHONPATH", "PYTHONHOME"):
        os.environ.pop(name, None)
