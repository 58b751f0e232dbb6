"""The step `engine`: vLLM's arguments, environment and defaults for a CPU."""

from dataclasses import replace

from toolkit.fields.serving import WarmUpInput
from toolkit.kinds.llm.facts import LlmFacts
from toolkit.kinds.llm.fields import LlmEntry
from toolkit.kinds.llm.tensors import ADAPTER, ENGINE_INPUTS, ENGINE_OUTPUTS
from toolkit.kinds.parts import Running, Step, with_text
from toolkit.targets import Target

CPU_SEQUENCES = 16
_CPU_CACHE_BYTES = 4 * 2**30
CACHE_BLOCK_TOKENS = 128  # of vLLM's CPU backend
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM's `max_lora_rank` takes
_SAMPLING_TEXT = '{"max_tokens": 1, "temperature": 0}'
"""One token is enough to run every kernel once."""


def vllm_step(name: str, entry: LlmEntry, facts: LlmFacts, target: Target) -> Step:
    """The step on vLLM, for a target with GPUs or without."""
    # vLLM's own defaults are made for GPUs
    defaults = {} if target.gpu else _cpu_defaults(entry, facts)
    fixed: dict[str, object] = {"model": "weights", "max_model_len": entry.context_length}
    own: dict[str, object] = {"engine": fixed | _implied(entry, facts) | entry.engine_args}
    # apart, since the embedded server runs the same repository on a CPU and on GPUs
    if on_cpu := {key: value for key, value in defaults.items() if key not in entry.engine_args}:
        own["engine_cpu"] = on_cpu
    if environment := _environment(entry):
        own["environment"] = environment
    if entry.adapters:
        own["adapters"] = {adapter: f"adapters/{adapter}" for adapter in entry.adapters}
    own |= {
        f"grammar_{name}": value
        for name, value in entry.grammars.model_dump(exclude_unset=True).items()
    }
    for field in ("tool_parser", "reasoning_parser"):
        if value := getattr(entry, field):
            own[f"toolkit.{field}"] = value
    adapter = (replace(ADAPTER, optional=True),) if entry.adapters else ()
    warmup = with_text(entry.warmup, sampling_parameters=_SAMPLING_TEXT)
    # zeros: id 0 is in every vocabulary
    ids = {"token_ids": WarmUpInput(dims=(4,))}
    warmup = tuple(
        each.model_copy(update={"inputs": {**each.inputs, **ids}, "batch": 1}) for each in warmup
    )
    # the GPUs become CUDA_VISIBLE_DEVICES: Triton refuses them in a KIND_MODEL group
    groups = tuple(group.model_copy(update={"gpus": ()}) for group in entry.instances or ())
    return Step(
        name=f"{name}.engine",
        environment="vllm",
        inputs=(*ENGINE_INPUTS, *adapter),
        outputs=ENGINE_OUTPUTS,
        parameters=own,
        decoupled=True,
        device="model",
        running=Running(groups or None, warmup=warmup, version_policy=entry.version_policy),
    )


def _implied(entry: LlmEntry, facts: LlmFacts) -> dict[str, object]:
    """Engine arguments that other fields stand for."""
    found: dict[str, object] = {}
    if entry.priority:
        found["scheduling_policy"] = "priority"
    if entry.adapters:
        # 16 is vLLM's default, for adapters that are not fetched yet
        rank = max((about.rank for about in facts.adapters.values()), default=_RANKS[2])
        found["enable_lora"] = True
        # all of them at once: vLLM's default of 1 would swap them between requests
        found["max_loras"] = len(entry.adapters)
        found["max_lora_rank"] = next((each for each in _RANKS if each >= rank), rank)
    return found


def _environment(entry: LlmEntry) -> dict[str, str | int]:
    """Variables of the engine's process; the GPUs of its instance are one of them."""
    gpus = [str(gpu) for group in entry.instances or () for gpu in group.gpus]
    placed: dict[str, str | int] = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
    return placed | entry.environment


def _cpu_defaults(entry: LlmEntry, facts: LlmFacts) -> dict[str, object]:
    """What vLLM's own defaults get wrong for a CPU that is shared with other models.

    Compiling costs minutes at each start and gains little. Left alone, the KV cache demands 92 % of
    the machine's memory and the engine does not start; this one holds all sequences at full length,
    up to 4 GiB, and at least one. A CPU without AVX-512 computes in float32 unless told otherwise.
    """
    sequences = int(entry.engine_args.get("max_num_seqs", CPU_SEQUENCES))
    # the facts count 2 bytes a number; a CPU without AVX-512 keeps 4 unless dtype says 16 bits
    halves = 1 if "16" in str(entry.engine_args.get("dtype", "")) else 2
    token = facts.cache_bytes_per_token * halves
    return {
        "enforce_eager": True,
        "max_num_seqs": sequences,
        "kv_cache_memory_bytes": default_cache_bytes(token, entry.context_length, sequences),
    }


def default_cache_bytes(token_bytes: int, context: int, sequences: int = CPU_SEQUENCES) -> int:
    """The KV cache on a CPU: all sequences at full length up to 4 GiB, and at least one."""
    # one block more: vLLM keeps one for itself
    blocks = -(-context // CACHE_BLOCK_TOKENS) + 1
    one = blocks * CACHE_BLOCK_TOKENS * token_bytes
    return max(one, min(sequences * one, _CPU_CACHE_BYTES))
