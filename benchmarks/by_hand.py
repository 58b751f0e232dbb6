"""Quantizes as llm-compressor's own examples do, for `benchmarks.quantization` to compare with.

`python -m benchmarks.by_hand JOB.json`, in a process of its own. What the examples leave to the
library is left to it; the group size is 64 because the presets' 128 does not divide SmolLM2's 576,
and it computes in float32 because a CPU without AVX-512 takes several times as long for bfloat16.
"""

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Writes the job's `output`."""
    job = json.loads(Path(sys.argv[1]).read_text())
    import torch
    from datasets import Dataset
    from llmcompressor import oneshot
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(job["source"], dtype=torch.float32)
    published = AutoConfig.from_pretrained(job["source"]).dtype
    tokenizer = AutoTokenizer.from_pretrained(job["source"])
    options: dict[str, Any] = {}
    if job["rows"]:
        masks = [[1] * len(row) for row in job["rows"]]
        data = Dataset.from_dict({"input_ids": job["rows"], "attention_mask": masks})
        options = {"dataset": data, "max_seq_length": job["length"]}
        options["num_calibration_samples"] = len(job["rows"])
    if not torch.accelerator.is_available():  # AWQ of 0.14.0.1 ends in an error without this
        from llmcompressor.pipelines import cache

        cache.IntermediatesCache.pin_memory = lambda *_, **__: None
    oneshot(model=model, recipe=recipe(job["method"]), **options)
    model.to(published).save_pretrained(job["output"], save_compressed=True)
    tokenizer.save_pretrained(job["output"])


def recipe(method: str) -> Any:
    """What the examples of the library write."""
    from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 64}
    groups = {"group_0": {"targets": ["Linear"], "weights": {**weights, "symmetric": True}}}
    ignore = ["lm_head"]
    if method == "awq":
        return [AWQModifier(), QuantizationModifier(config_groups=groups, ignore=ignore)]
    if method == "gptq":
        return [GPTQModifier(config_groups=groups, ignore=ignore)]
    if method == "int8":
        smooth = SmoothQuantModifier(smoothing_strength=0.8)
        return [smooth, GPTQModifier(targets="Linear", scheme="W8A8", ignore=ignore)]
    return [QuantizationModifier(config_groups=groups, ignore=ignore)]


if __name__ == "__main__":
    main()
