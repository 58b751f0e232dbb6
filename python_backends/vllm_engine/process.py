"""Prepares the stub's process before vLLM is imported.

Triton's stub embeds an interpreter that ignores PYTHONUTF8 and uses ASCII, with which torch cannot
read its own sources; and vLLM reads its settings from the environment at import.
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
    """Sets the encoding and the environment; the model's own variables override the defaults.

    `gpus` are those on which `toolkit serve` placed the model. FlashInfer's sampler is compiled on
    first use, which needs CUDA's compiler; without it vLLM's own sampler is used.
    """
    if gpus:
        # children inherit it; vLLM then counts its devices from 0
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
