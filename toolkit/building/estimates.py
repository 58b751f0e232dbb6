"""How long the steps of a build take, and what memory and disk they need. Pure, and rough.

Measured on two x86-64 cores without a GPU with models of 23 to 135 million parameters: time grows
with the weights, after a start that imports the libraries. Other machines differ by a factor.
"""

import re
from dataclasses import dataclass

DOWNLOAD_BYTES_PER_S = 10e6
"""What a download is assumed to reach: 80 Mbit/s."""
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one step: bytes that it writes, seconds, and bytes of memory at its peak."""

    size_bytes: int
    seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class _Rate:
    """A start, and what each gigabyte of the result adds."""

    start_s: float
    s_per_gb: float
    start_bytes: float = 0.6 * _GB
    memory: float = 4.0


_CONVERSIONS = {
    "gguf": _Rate(10, 110, memory=4.3),  # 135M: 59 s of CPU, 1.76 GB
    "encoder": _Rate(8, 100, memory=5.0),  # 23M: 23 s of CPU, 1.06 GB
    "cross-encoder": _Rate(8, 100, memory=5.0),
    "diffusion": _Rate(10, 120, memory=3.0),
    "checkpoint": _Rate(1, 3, start_bytes=0.2 * _GB, memory=0.0),
    "copy": _Rate(0, 3, start_bytes=0.1 * _GB, memory=0.0),
}
_QUANTIZING_S_PER_B = {"awq": 1400, "gptq": 480, "int8": 700, "int4-rtn": 40, "fp8": 40}
"""Seconds for a billion parameters with 32 samples of 256 tokens."""
_MEASURING_S_PER_B = 1300
"""64 passages of 512 tokens through the source and the result, in float32."""
_BITS = {"int8": 8, "fp8": 8}
_GGUF_BITS = re.compile(r"[._-]I?Q(\d)", re.IGNORECASE)


def conversion_cost(name: str, source_bytes: int, file: str = "") -> Cost:
    """Of the conversion `name` of a source of this many bytes; `file` is a GGUF file's name."""
    size = source_bytes
    if name == "gguf" and (bits := _GGUF_BITS.search(file)):
        size = int(source_bytes * 16 / (int(bits[1]) + 0.8))  # scales take about 0.8 bits
    rate = _CONVERSIONS[name]
    seconds = rate.start_s + rate.s_per_gb * size / _GB
    return Cost(size, seconds, int(rate.start_bytes + rate.memory * size))


def quantization_cost(method: str, weights_bytes: int) -> Cost:
    """Of `toolkit quantize` with `method`, for weights of 16 bits; the engine is not measured."""
    billions = weights_bytes / 2 / _GB
    seconds = 15 + billions * (_QUANTIZING_S_PER_B.get(method, 700) + _MEASURING_S_PER_B)
    size = weights_bytes * (_BITS.get(method, 4) + 0.5) / 16
    return Cost(int(size), seconds, int(0.6 * _GB + 8 * billions * _GB))


def download_seconds(size_bytes: int) -> float:
    """At `DOWNLOAD_BYTES_PER_S`."""
    return size_bytes / DOWNLOAD_BYTES_PER_S
