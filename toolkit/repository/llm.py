"""Configs of a language model: `prompt` → `engine`, decoupled (python_backends/README.md)."""

import json
from collections.abc import Mapping
from dataclasses import replace

from toolkit.facts import LlmFacts
from toolkit.model_config import ModelConfig
from toolkit.repository.parts import (
    Ensemble,
    Route,
    Step,
    Tensor,
    ensemble_config,
    step_config,
)
from toolkit.repository.running import Running
from toolkit.repository.warmup import PROMPT_TEXT, SAMPLING_TEXT, with_text
from toolkit.spec import LlmEntry
from toolkit.spec.serving import WarmUpInput
from toolkit.targets import Target

_TEXT = (1,)
_MANY = (-1,)
_PROMPT = Tensor("prompt", "STRING", _TEXT)
_SAMPLING = Tensor("sampling_parameters", "STRING", _TEXT, optional=True)
_REPLY = Tensor("reply", "STRING", _TEXT, optional=True)
_IMAGES = Tensor("images", "STRING", _MANY, optional=True)
_TOKENS = Tensor("token_ids", "INT32", _MANY)
_EVENT = Tensor("event", "STRING", _MANY)

# Triton's own vLLM backend, so that its clients work against the engine.
_FLAGS = (
    "stream",
    "exclude_input_in_output",
    "return_finish_reason",
    "return_cumulative_logprob",
    "return_logprobs",
    "return_num_input_tokens",
    "return_num_output_tokens",
)
_ENGINE_INPUTS = (
    Tensor("token_ids", "INT32", _MANY, optional=True),
    _SAMPLING,
    _REPLY,
    _IMAGES,
    Tensor("cancel", "STRING", _TEXT, optional=True),
    Tensor("text_input", "STRING", _TEXT, optional=True),
    *(Tensor(name, "BOOL", _TEXT, optional=True) for name in _FLAGS),
)
_ENGINE_OUTPUTS = (
    _EVENT,
    Tensor("text_output", "STRING", _MANY),
    Tensor("finish_reason", "STRING", _MANY),
    Tensor("cumulative_logprob", "FP32", _MANY),
    Tensor("logprobs", "STRING", _MANY),
    Tensor("num_input_tokens", "UINT32", _TEXT),
    Tensor("num_output_tokens", "UINT32", _MANY),
)
PROMPT_INSTANCES = 2

_CPU_SEQUENCES = 16
_CPU_CACHE_BYTES = 4 * 2**30
_CACHE_BLOCK_TOKENS = 128  # of vLLM's CPU backend
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM's `max_lora_rank` takes
_ADAPTER = Tensor("adapter", "STRING", _TEXT)


def llm_configs(
    name: str,
    entry: LlmEntry,
    facts: LlmFacts,
    public: Mapping[str, object],
    target: Target,
) -> list[ModelConfig]:
    """The ensemble and its two steps, and for each adapter an ensemble and a `prompt` of its own.

    `public` are the parameters of every ensemble. An adapter's `prompt` names it to the engine.
    """
    engine = _engine(name, entry, facts, target)
    beside = (_SAMPLING, _REPLY, _IMAGES) if facts.vision else (_SAMPLING, _REPLY)
    found = []
    for served, adapter in ((name, None), *entry.adapters.items()):
        text_bytes = facts.text_bytes(entry.context_length)
        prompt = _prompt(served, entry, text_bytes, served if adapter else None)
        about: dict[str, object] = {
            "toolkit.context_length": entry.context_length,
            "toolkit.max_text_bytes": text_bytes,
            "toolkit.cancel": engine.name,
            "toolkit.details": facts.details.model_dump(),
        }
        if adapter:
            known = facts.adapters.get(served)  # a plan is made before they are fetched
            about |= {
                "toolkit.aliases": list(adapter.aliases),
                "toolkit.source": str(adapter.origin),
                "toolkit.digest": known.digest if known else "",
            }
        made = [tensor.name for tensor in prompt.outputs]
        routes = (
            Route.same(prompt, ("prompt",), made),
            Route.same(engine, (*made, *(tensor.name for tensor in beside)), ("event",)),
        )
        ensemble = Ensemble(served, (_PROMPT, *beside), (_EVENT,), decoupled=True)
        found.append(ensemble_config(ensemble, routes, {**public, **about}))
        found.append(step_config(prompt, target))
    found.insert(2, step_config(engine, target))
    return found


def _prompt(name: str, entry: LlmEntry, text_bytes: int | None, adapter: str | None) -> Step:
    own: dict[str, object] = {"context_length": entry.context_length}
    own["max_text_bytes"] = text_bytes
    if adapter:
        own["adapter"] = adapter
    if entry.fim is not None:
        own["toolkit.fim"] = json.dumps(entry.fim or None, ensure_ascii=False)
    return Step(
        name=f"{name}.prompt",
        environment="onnx",
        inputs=(_PROMPT,),
        outputs=(_TOKENS, _ADAPTER) if adapter else (_TOKENS,),
        parameters=own,
        instances=PROMPT_INSTANCES,
        running=_prompt_running(entry),
    )


def _prompt_running(entry: LlmEntry) -> Running:
    running = Running.part(entry.parts.get("prompt"))
    return replace(running, warmup=with_text(running.warmup, prompt=PROMPT_TEXT))


def _engine(name: str, entry: LlmEntry, facts: LlmFacts, target: Target) -> Step:
    defaults = {} if target.gpu else _cpu_defaults(entry, facts)
    fixed: dict[str, object] = {"model": "weights", "max_model_len": entry.context_length}
    own: dict[str, object] = {"engine": fixed | _wanted(entry, facts) | entry.engine_args}
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
    adapter = (replace(_ADAPTER, optional=True),) if entry.adapters else ()
    warmup = with_text(entry.warmup, sampling_parameters=SAMPLING_TEXT)
    ids = {"token_ids": WarmUpInput(dims=(4,))}
    warmup = tuple(
        each.model_copy(update={"inputs": {**each.inputs, **ids}, "batch": 1}) for each in warmup
    )
    groups = tuple(group.model_copy(update={"gpus": ()}) for group in entry.instances or ())
    return Step(
        name=f"{name}.engine",
        environment="vllm",
        inputs=(*_ENGINE_INPUTS, *adapter),
        outputs=_ENGINE_OUTPUTS,
        parameters=own,
        decoupled=True,
        device="model",
        running=Running(groups or None, warmup=warmup, version_policy=entry.version_policy),
    )


def _wanted(entry: LlmEntry, facts: LlmFacts) -> dict[str, object]:
    """Engine arguments that other fields stand for."""
    found: dict[str, object] = {}
    if entry.priority:
        found["scheduling_policy"] = "priority"
    if entry.adapters:
        rank = max((about.rank for about in facts.adapters.values()), default=_RANKS[2])
        found["enable_lora"] = True
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
    sequences = int(entry.engine_args.get("max_num_seqs", _CPU_SEQUENCES))
    blocks = -(-entry.context_length // _CACHE_BLOCK_TOKENS) + 1
    halves = 1 if "16" in str(entry.engine_args.get("dtype", "")) else 2
    one = blocks * _CACHE_BLOCK_TOKENS * facts.cache_bytes_per_token * halves
    return {
        "enforce_eager": True,
        "max_num_seqs": sequences,
        "kv_cache_memory_bytes": max(one, min(sequences * one, _CPU_CACHE_BYTES)),
    }
