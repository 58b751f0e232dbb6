"""The same arguments before the real vLLM, which must take and refuse the same ones."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.toolkit.engine_arguments.test_values import ACCEPTED, NEWEST, REFUSED, TOGETHER
from toolkit.engine_arguments import engine
from toolkit.engine_arguments.contents import refused_contents
from toolkit.engine_arguments.values import misfits
from toolkit.runtime.environments import ensure_environment

PROGRAM = Path(__file__).with_name("ask_engine.py")
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "vocab_size": 100,
    "torch_dtype": "float32",
}
LATER = {
    # read when an image, a loader, a worker, LoRA or a request needs it
    *("limit_mm_per_prompt", "load_format", "tokenizer_mode", "worker_cls", "offload_backend"),
    *(
        "quantization_config",
        "override_generation_config",
        "max_lora_rank",
        "max_loras",
        "node_rank",
    ),
    *("num_gpu_blocks_override", "long_prefill_token_threshold"),
    # a number or a text of another type is converted, or counts as true
    *("max_num_seqs", "enforce_eager", "cudagraph_capture_sizes"),
}
"""Arguments whose wrong values vLLM finds only when it loads or uses the model, or converts."""
NOT_HERE = {"quantization", "kv_transfer_config"}
"""Arguments whose right values need other weights, or a package."""


def test_vllm_itself_takes_and_refuses_the_same(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    about = engine(NEWEST)
    wrong = [{place.partition(".")[0]: value} for place, value, _, _ in REFUSED]
    wrong += [arguments for arguments, _ in TOGETHER]
    wrong = [each for each in wrong if not LATER & each.keys()]
    right = [each for each in ACCEPTED if not NOT_HERE & each.keys()]
    answers = _ask(tmp_path, [*wrong, *right])
    taken = [each for each, said in zip(wrong, answers, strict=False) if not said]
    assert taken == []
    refused = [
        (each, said) for each, said in zip(right, answers[len(wrong) :], strict=True) if said
    ]
    assert refused == []
    for each in right:
        assert [*misfits(each, about), *refused_contents(each, about)] == []


def _ask(folder: Path, cases: list[dict[str, Any]]) -> list[str]:
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "CRITICAL"}
    asked = subprocess.run(
        [str(ensure_environment("vllm") / "bin" / "python"), str(PROGRAM), str(folder)],
        input="".join(json.dumps(each) + "\n" for each in cases),
        env={**os.environ, **quiet, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in asked.stdout.splitlines() if line.startswith('{"answer"')]
    if len(lines) != len(cases):
        pytest.fail(f"{len(lines)} answers for {len(cases)} cases: {asked.stderr[-2000:]}")
    return [str(json.loads(line)["answer"]) for line in lines]
