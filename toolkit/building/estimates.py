"""Estimates time, memory and disk of the steps of a build. Pure; the estimates are rough.

Time grows with the weights, after a start that imports the libraries. Measured on two x86-64 cores
without a GPU with models of 23 to 135 million parameters; other machines differ by a factor.
"""

import re
from dataclasses import dataclass

from toolkit.kinds.conversion import Conversion

DOWNLOAD_BYTES_PER_S = 10e6
"""What a download is assumed to reach: 80 Mbit/s."""
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one step: bytes that it writes, seconds, and peak memory in bytes."""

    size_bytes: int
    seconds: float
    memory_bytes: int


_QUANTIZING_S_PER_B = {"awq": 1400, "gptq": 480, "int8": 700, "int4-rtn": 40, "fp8": 40}
"""Seconds for a billion parameters with 32 samples of 256 tokens."""
_MEASURING_S_PER_B = 1300
"""64 passages of 512 tokens through the source and the result, in float32."""
_BITS = {"int8": 8, "fp8": 8}
_GGUF_BITS = re.compile(r"[._-]I?Q(\d)", re.IGNORECASE)


def conversion_cost(conversion: Conversion, source_bytes: int, file: str) -> Cost:
    """The cost of converting a source of `source_bytes` bytes; `file` is its name."""
    size = source_bytes
    if file.endswith(".gguf") and (bits := _GGUF_BITS.search(file)):
        size = int(source_bytes * 16 / (int(bits[1]) + 0.8))  # scales take about 0.8 bits
    rate = conversion.rate
    seconds = rate.start_s + rate.s_per_gb * size / _GB
    return Cost(size, seconds, int(rate.start_bytes + rate.memory * size))


def quantization_cost(method: str, weights_bytes: int) -> Cost:
    """The cost of `toolkit quantize` with `method` for 16 bit weights, without engine runs."""
    billions = weights_bytes / 2 / _GB
    seconds = 15 + billions * (_QUANTIZING_S_PER_B.get(method, 700) + _MEASURING_S_PER_B)
    size = weights_bytes * (_BITS.get(method, 4) + 0.5) / 16
    return Cost(int(size), seconds, int(0.6 * _GB + 8 * billions * _GB))


def download_seconds(size_bytes: int) -> float:
    """Seconds that a download takes at `DOWNLOAD_BYTES_PER_S`."""
    return size_bytes / DOWNLOAD_BYTES_PER_S
