"""The KV cache's size is what vLLM itself reckons, layer by layer, in its own code."""

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toolkit.fit import configs
from toolkit.fit.architecture import read_architecture
from toolkit.fit.cache import CacheShape, bytes_per_token, sequence_bytes, sequences_in
from toolkit.runtime.environments import ensure_environment

STEP = 2048
# what vLLM's own specifications of a layer's cache demand for one request of full length
REFERENCE = """
import json, sys, types
import torch
from vllm.v1.kv_cache_interface import FullAttentionSpec, MLAAttentionSpec, SlidingWindowSpec
answers = []
for ask in json.load(sys.stdin):
    parallel = types.SimpleNamespace(
        decode_context_parallel_size=1, prefill_context_parallel_size=1)
    config = types.SimpleNamespace(
        model_config=types.SimpleNamespace(max_model_len=ask["tokens"]),
        scheduler_config=types.SimpleNamespace(max_num_batched_tokens=ask["step"]),
        parallel_config=parallel, max_in_flight_tokens=ask["step"])
    shape = dict(block_size=ask["block"], num_kv_heads=ask["kv_heads"],
                 head_size=ask["size"], dtype=torch.bfloat16)
    if ask["window"]:
        spec = SlidingWindowSpec(sliding_window=ask["window"], **shape)
    else:
        spec = (MLAAttentionSpec if ask["latent"] else FullAttentionSpec)(**shape)
    answers.append(spec.max_memory_usage_bytes(config))
print(json.dumps(answers))
"""


def ask(name: str, tokens: int, block: int) -> list[dict[str, int]]:
    """Every layer of a public model, in the words of vLLM's specifications."""
    config = getattr(configs, name)
    found = read_architecture(config)
    latent = "kv_lora_rank" in config
    size = found.layers[0].numbers if latent else found.layers[0].numbers // 2 // found.kv_heads
    common = {"tokens": tokens, "step": STEP, "block": block, "latent": latent, "size": size}
    common["kv_heads"] = 1 if latent else found.kv_heads
    return [common | {"window": layer.window or 0} for layer in found.layers]


def test_vllm_reckons_the_same() -> None:
    cases = [
        (name, tokens, block)
        for name in ("LLAMA_8B", "QWEN2_7B", "MISTRAL_7B", "GEMMA2_9B", "DEEPSEEK_V3", "GPT2")
        for tokens, block in ((1000, 16), (32768, 16), (8192, 128))
    ]
    layers = [layer for case in cases for layer in ask(*case)]
    python = ensure_environment("vllm") / "bin" / "python"
    ran = subprocess.run(
        [str(python), "-c", REFERENCE],
        input=json.dumps(layers),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    answers = iter(json.loads(ran.stdout.splitlines()[-1]))
    for name, tokens, block in cases:
        found = read_architecture(getattr(configs, name))
        demand = sum(next(answers) for _ in found.layers)
        assert sequence_bytes(found, CacheShape(2, block, STEP), tokens) == demand, name


def test_ranks_share_heads_and_layers_and_never_latents() -> None:
    llama, deepseek = read_architecture(configs.LLAMA_8B), read_architecture(configs.DEEPSEEK_V3)
    whole = bytes_per_token(llama, CacheShape(2, 16, STEP))
    assert bytes_per_token(llama, CacheShape(2, 16, STEP, 4)) == whole // 4
    assert bytes_per_token(llama, CacheShape(2, 16, STEP, 16)) == whole // 8  # 8 heads to share
    assert bytes_per_token(llama, CacheShape(2, 16, STEP, 1, 2)) == whole // 2
    one, eight = (bytes_per_token(deepseek, CacheShape(2, 16, STEP, n)) for n in (1, 8))
    assert one == eight == 2 * 576 * 61


@given(
    name=st.sampled_from(["LLAMA_8B", "GEMMA2_9B", "DEEPSEEK_V3", "MISTRAL_7B"]),
    tokens=st.integers(1, 40_000),
    more=st.integers(0, 5_000),
    tensor=st.sampled_from([1, 2, 4, 8]),
)
def test_longer_never_takes_less_and_more_ranks_never_more(
    name: str, tokens: int, more: int, tensor: int
) -> None:
    found = read_architecture(getattr(configs, name))
    split, whole = CacheShape(2, 16, STEP, tensor), CacheShape(2, 16, STEP)
    assert sequence_bytes(found, whole, tokens) <= sequence_bytes(found, whole, tokens + more)
    assert sequence_bytes(found, split, tokens) <= sequence_bytes(found, whole, tokens)


def test_a_room_holds_whole_blocks_of_requests() -> None:
    llama, shape = read_architecture(configs.LLAMA_8B), CacheShape(2, 16, STEP)
    one = sequence_bytes(llama, shape, 4096)
    assert one == 4096 * 131072
    assert sequences_in(llama, shape, 4096, 3 * one) == 3
    assert sequences_in(llama, shape, 4096, 3 * one + 100) == 3
    assert sequences_in(llama, shape, 4096, 0) == 0
    nothing = read_architecture(configs.LLAMA_8B | {"full_attention_interval": 99})
    assert sequences_in(nothing, shape, 4096, 10) == float("inf")
    assert pytest.approx(sequences_in(llama, shape, 4000, one), rel=0.03) == 4096 / 4000
