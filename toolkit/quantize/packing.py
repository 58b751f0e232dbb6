"""Packs eight 4-bit numbers into an INT32, in the order of compressed-tensors and of AutoAWQ.

compressed-tensors goes from the lowest bits up; AutoAWQ's GEMM layout stores eight outputs in the
order 0 2 4 6 1 3 5 7.
"""

import torch

_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
_SHIFTS = torch.arange(0, 32, 4, dtype=torch.int32)


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """INT32 `[rows, n]`, eight values each from the lowest bits up → `[rows, 8 n]` from 0 to 15."""
    # shifting a negative INT32 fills it with ones from the left; the mask takes them off
    return ((packed.unsqueeze(-1) >> _SHIFTS) & 0xF).reshape(packed.shape[0], -1)


def pack(values: torch.Tensor) -> torch.Tensor:
    """`[rows, 8 n]` from 0 to 15 → INT32 `[rows, n]` in AutoAWQ's order."""
    ordered = values.reshape(values.shape[0], -1, 8)[:, :, list(_ORDER)].to(torch.int32)
    result = torch.zeros(ordered.shape[:2], dtype=torch.int32)
    for place in range(8):
        # the eighth value reaches the sign bit: the formats store the bits, not a number
        result |= ordered[:, :, place] << (4 * place)
    return result


def unpack_interleaved(packed: torch.Tensor) -> torch.Tensor:
    """AutoAWQ's INT32 `[rows, n]` → FP32 `[rows, 8 n]` from 0 to 15: the inverse of `pack`."""
    places = torch.tensor([_ORDER.index(place) for place in range(8)])
    found = (packed.unsqueeze(-1) >> _SHIFTS) & 0xF
    return found[..., places].reshape(packed.shape[0], -1).float()
