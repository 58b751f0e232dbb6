"""Measures the loss of quality: runs a model and its quantized form on the same text.

It runs in a separate process and reads the written files, so it measures what will be served. Both
compute in float32 on a CPU; one is in memory at a time.
"""

import gc
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from toolkit.convert.strict import load, refuse_differences
from toolkit.quantize.events import Events, Job, work
from toolkit.quantize.tokens import encode_samples
from toolkit.quantize.written import check_written

_LAYER_ROWS = 4
"""Rows of text whose hidden states are compared; the memory is rows × layers × tokens × width."""


@dataclass
class _Reference:
    """What the source said, kept on disk: `[tokens, vocabulary]` below the largest logit."""

    folder: Path
    losses: list[float] = field(default_factory=list)
    hidden: list[list[torch.Tensor]] = field(default_factory=list)

    def keep(self, number: int, logits: torch.Tensor) -> None:
        shifted = logits - logits.max(dim=-1, keepdim=True).values
        # near the top, where it counts, the numbers are small and 16 bits are exact enough
        np.save(self.folder / f"{number}.npy", shifted.to(torch.float16).cpu().numpy())

    def logits(self, number: int) -> torch.Tensor:
        return torch.from_numpy(np.load(self.folder / f"{number}.npy")).float()


def main() -> None:
    """The worker's entry point, called by `toolkit.quantize.process`."""
    work(_run)


def _run(job: Job, events: Events) -> Job:
    """Perplexities, KL divergence in nats, top-1 agreement, and the error after each layer."""
    # first, because it takes seconds: wrong files need no measuring
    check_written(Path(job["source"]), Path(job["result"]), job["smooths"])
    tokenizer = AutoTokenizer.from_pretrained(job["source"], local_files_only=True)
    rows = encode_samples(job["passages"], tokenizer, job["count"], job["length"])
    device = "cuda" if torch.cuda.is_available() and job["device"] != "cpu" else "cpu"
    with tempfile.TemporaryDirectory(dir=job["scratch"]) as folder:
        reference = _Reference(Path(folder))
        with events.step("measure the source", total=len(rows), unit="passages") as step:
            for number, output in enumerate(_outputs(job["source"], rows, device)):
                reference.keep(number, output.logits[0])
                reference.losses += _losses(output.logits[0], rows[number])
                # on the CPU: the states of all layers would fill the device that the result needs
                if number < _LAYER_ROWS:
                    reference.hidden.append([state[0].cpu() for state in output.hidden_states])
                step.advance()
        with events.step("measure the result", total=len(rows), unit="passages") as step:
            return {"rows": rows} | _compare(job["result"], rows, device, reference, step)


def _compare(
    folder: str, rows: list[list[int]], device: str, reference: _Reference, step: Any
) -> Job:
    losses: list[float] = []
    divergences: list[float] = []
    agreements: list[bool] = []
    layers: list[list[float]] = []
    for number, output in enumerate(_outputs(folder, rows, device)):
        logits = output.logits[0].cpu()
        expected = reference.logits(number)
        losses += _losses(logits, rows[number])
        actual, target = logits.log_softmax(-1), expected.log_softmax(-1)
        divergences += (target.exp() * (target - actual)).sum(-1).tolist()
        agreements += (logits.argmax(-1) == expected.argmax(-1)).tolist()
        if number < _LAYER_ROWS:
            pairs = zip(output.hidden_states, reference.hidden[number], strict=True)
            layers.append([_relative(actual[0].cpu(), target) for actual, target in pairs])
        step.advance()
    before, after = _perplexity(reference.losses), _perplexity(losses)
    return {
        "tokens": len(losses),
        "perplexity": {"before": before, "after": after, "ratio": after / before},
        "kl_nats": {
            "mean": float(np.mean(divergences)),
            "p99": float(np.quantile(divergences, 0.99)),
            "max": float(np.max(divergences)),
        },
        "top1_agreement": float(np.mean(agreements)),
        "layer_error": [float(value) for value in np.mean(layers, axis=0)],
    }


def _outputs(folder: str, rows: list[list[int]], device: str) -> Iterator[Any]:
    model = _load(folder, device).to(device).eval()
    with torch.inference_mode():
        for row in rows:
            ids = torch.tensor([row], device=device)
            # each row is one pass, so a cache would be memory for nothing
            output = model(ids, output_hidden_states=True, use_cache=False)
            output.logits = output.logits.float()
            yield output
    del model
    # at once: models have cycles, and the next one is loaded now
    gc.collect()


def _load(folder: str, device: str) -> Any:
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    dtype = torch.float32 if device == "cpu" else "auto"
    if getattr(config, "quantization_config", None) is None:
        return load(AutoModelForCausalLM, Path(folder), dtype)
    kind: Any = import_module("transformers").CompressedTensorsConfig
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        local_files_only=True,
        quantization_config=kind(run_compressed=False),  # unpacked weights, rounded activations
        output_loading_info=True,
    )
    model, report = loaded
    refuse_differences(Path(folder), report["missing_keys"], report["unexpected_keys"])
    return model


def _losses(logits: torch.Tensor, row: list[int]) -> list[float]:
    """Nats of each token but the first, given those before it."""
    targets = torch.tensor(row[1:], device=logits.device)
    losses = torch.nn.functional.cross_entropy(logits[:-1], targets, reduction="none")
    return [float(value) for value in losses]


def _relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Mean over tokens of the error's length, as a share of the state's."""
    error = (actual.float() - expected.float()).norm(dim=-1) / expected.float().norm(dim=-1)
    return float(error.mean())


def _perplexity(losses: list[float]) -> float:
    # exp overflows above 709
    return math.exp(min(float(np.mean(losses)), 700.0))
