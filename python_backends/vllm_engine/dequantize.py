"""Unpacks 4-bit weights at load time on CPUs for which vLLM has no 4-bit kernel.

vLLM's CPU kernel for 4-bit weights needs AVX-512 and crashes without it in the first step. Outputs
are the same; only the memory of the 4-bit format is not saved.
Imported by vLLM's worker process, as its extension class; nothing else imports it.
"""

from typing import Any

import torch
from vllm.model_executor.kernels.linear import (  # type: ignore[import-not-found]
    _POSSIBLE_KERNELS,
    MPLinearKernel,
    MPLinearLayerConfig,
)
from vllm.platforms import PlatformEnum  # type: ignore[import-not-found]
from vllm.scalar_type import scalar_types  # type: ignore[import-not-found]

_ZERO_POINTS = {scalar_types.uint4b8: 8, scalar_types.uint4: None}
"""What a stored 0 means where the weights carry no zero points of their own."""


class WorkerExtension:
    """An empty extension: vLLM's worker imports this module because its config names the class."""


class UnpackedLinear(MPLinearKernel):  # type: ignore[misc]
    """`y = x Wᵀ + b` with W unpacked; in float32, as these CPUs compute 16-bit numbers slowly."""

    @classmethod
    def get_min_capability(cls) -> int:
        return -1

    @classmethod
    def can_implement(cls, c: MPLinearLayerConfig) -> tuple[bool, str | None]:
        if c.weight_type not in _ZERO_POINTS:
            return False, f"{c.weight_type} is not unpacked"
        return True, None

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        packed, scales = self._rows(layer, self.w_q_name), self._rows(layer, self.w_s_name)
        values = _unpack(packed, columns=packed.shape[1] * 8)
        size = values.shape[1] // scales.shape[1]
        groups = values.reshape(values.shape[0], -1, size)
        groups = groups - self._zero_points(layer, groups.shape[0])
        # float32 throughout: a scale in bfloat16 would lose bits of the product
        weight = (groups * scales.float().unsqueeze(-1)).reshape(values.shape)
        layer.unpacked = torch.nn.Parameter(weight.contiguous(), requires_grad=False)
        # the packed weights are freed, else both forms would stay in memory
        for name in (self.w_q_name, self.w_s_name, self.w_zp_name):
            if name is not None and getattr(layer, name, None) is not None:
                setattr(layer, name, None)

    def apply_weights(
        self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        weight: Any = layer.unpacked
        offset = None if bias is None else bias.float()
        return torch.nn.functional.linear(x.float(), weight, offset).to(x.dtype)

    def _rows(self, layer: torch.nn.Module, name: str) -> torch.Tensor:
        """A parameter with outputs along its first axis, however its format lays it out."""
        parameter: Any = getattr(layer, name)
        data: torch.Tensor = parameter.data
        return data if parameter.output_dim == 0 else data.t().contiguous()

    def _zero_points(self, layer: torch.nn.Module, outputs: int) -> torch.Tensor:
        """INT32 `[outputs, groups, 1]`, or one number for all."""
        if not self.config.zero_points:
            return torch.tensor(_ZERO_POINTS[self.config.weight_type] or 0, dtype=torch.int32)
        packed = self._rows(layer, self.w_zp_name or "")  # packed along the outputs
        return _unpack(packed.t().contiguous(), columns=outputs).t().unsqueeze(-1)


def _unpack(packed: torch.Tensor, columns: int) -> torch.Tensor:
    """INT32 `[rows, columns / 8]` -> `[rows, columns]` from 0 to 15, the lowest bits first."""
    shifts = torch.arange(0, 32, 4, dtype=torch.int32)
    values = (packed.unsqueeze(-1) >> shifts) & 0xF
    return values.reshape(packed.shape[0], -1)[:, :columns]


if not hasattr(torch.ops._C, "cpu_gemm_wna16"):
    _POSSIBLE_KERNELS[PlatformEnum.CPU].insert(0, UnpackedLinear)
