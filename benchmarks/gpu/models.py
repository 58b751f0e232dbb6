"""The models of the run: the default models, and a Llama with random weights for speed."""

import json
import shutil
from pathlib import Path

from benchmarks.gpu.run import SPEED, Run
from tests.support.processes import ROOT

_LARGE = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16}
_SMALL = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 2}
CONTEXT = 2048


def default_entries(run: Run) -> str:
    """models.yaml's own entries; on a GPU the language model leaves room for its neighbours."""
    text = (ROOT / "models.yaml").read_text().partition("models:\n")[2]
    text = text.replace("path:examples", f"path:{ROOT}/examples")
    return text.replace(
        "    context_length: 2048\n", f"    context_length: 2048\n{share(run, 0.1)}", 1
    )


def speed_entry(run: Run, weights: Path) -> str:
    """The entry of the random model. Its peer gets the same share of the GPU."""
    lines = (
        f"  {SPEED}:\n    kind: llm\n    source: path:{weights}\n    context_length: {CONTEXT}\n"
    )
    return lines + share(run, 0.35)


def share(run: Run, part: float) -> str:
    """The field that gives an engine this part of the GPU's memory; nothing on a CPU."""
    return f"    engine_args: {{gpu_memory_utilization: {part}}}\n" if run.cuda else ""


def write_random_llama(run: Run, tokenizer: Path) -> Path:
    """1.1 billion bfloat16 numbers (4 million in a small run), the same in every run."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = run.folder / "random-llama"
    if (folder / "config.json").exists():
        return folder
    vocabulary = len(json.loads((tokenizer / "tokenizer.json").read_text())["model"]["vocab"])
    size = _SMALL if run.small else _LARGE
    config = LlamaConfig(
        vocab_size=-(-vocabulary // 128) * 128,
        num_attention_heads=size["hidden_size"] // 64,
        num_key_value_heads=size["hidden_size"] // 256,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        **size,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        LlamaForCausalLM(config).save_pretrained(folder)
    finally:
        torch.set_default_dtype(torch.float32)
    for file in tokenizer.iterdir():
        if not (folder / file.name).exists():  # it has a config.json of its own model
            shutil.copyfile(file, folder / file.name)
    return folder
