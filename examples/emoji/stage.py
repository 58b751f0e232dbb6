"""One network's training as a resumable stage: optimizer, rate, average of weights, checkpoints.

A stage's random numbers depend on its name, the seed and the step alone, so that a run that was
broken off continues as if it had not been. It does not know about what is learnt.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

KEEP_EVERY = 100  # steps


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    output: Path
    data: Path
    work: Path
    steps: int
    both_steps: int
    vae_steps: int
    decoder_steps: int
    text_steps: int
    copies: int
    seed: int


class Stage:
    """Warm-up and cosine decay of the rate; the average of recent weights is the result."""

    def __init__(self, name: str, module: nn.Module, steps: int, rate: float, plan: Plan) -> None:
        self._name, self._module, self._steps, self._seed = name, module, steps, plan.seed
        self._optimizer = torch.optim.AdamW(module.parameters(), rate, (0.9, 0.99), 1e-8, 1e-3)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, self._rate)
        averaging = torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)  # type: ignore[no-untyped-call]
        self._average = torch.optim.swa_utils.AveragedModel(module, multi_avg_fn=averaging)
        self._file = plan.work / f"{name}.pt"
        self._done = 0
        if self._file.exists():
            self._load()
        self._progress = tqdm(desc=name, total=steps, initial=self._done)

    def run(self) -> Iterator[int]:
        """Numbers of the steps still to do; after the last the averaged weights are in place."""
        for step in range(self._done, self._steps):
            torch.manual_seed(zlib.crc32(f"{self._name} {self._seed} {step}".encode()))
            yield step
        self._keep()
        self._progress.close()
        self._module.load_state_dict(self._average.module.state_dict())
        self._module.eval()

    def learn(self, loss: torch.Tensor) -> None:
        """One step down."""
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._module.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._average.update_parameters(self._module)
        self._done += 1
        self._progress.update()
        if self._done % 10 == 0:
            self._progress.set_postfix(loss=f"{loss.item():.4f}")
        if self._done % KEEP_EVERY == 0:
            self._keep()

    def _rate(self, step: int) -> float:
        """Share of the full rate."""
        warm = max(1, min(100, self._steps // 10))
        decayed = 0.02 + 0.49 * (1 + math.cos(math.pi * step / max(1, self._steps)))
        return min((step + 1) / warm, decayed)

    def _states(self) -> dict[str, Any]:
        return {
            "module": self._module,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            "average": self._average,
        }

    def _keep(self) -> None:
        """A whole file or none: a run may be broken off while it writes."""
        content = {name: part.state_dict() for name, part in self._states().items()}
        fresh = self._file.with_suffix(".new")
        torch.save(content | {"done": self._done}, fresh)
        fresh.replace(self._file)

    def _load(self) -> None:
        content = torch.load(self._file, weights_only=True)
        for name, part in self._states().items():
            part.load_state_dict(content[name])
        self._done = content["done"]
