"""Configs of a language model: `prompt` → `engine`, decoupled (python_backends/README.md)."""

from tritonclient.grpc.model_config_pb2 import ModelConfig

from toolkit.facts import LlmFacts
from toolkit.repository.parts import Route, Step, Tensor, ensemble_config, step_config
from toolkit.spec import LlmEntry
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


def llm_configs(
    name: str, entry: LlmEntry, facts: LlmFacts, public: dict[str, object], target: Target
) -> list[ModelConfig]:
    """The ensemble and its two steps; `public` are the parameters of every ensemble."""
    defaults = {} if target.gpu else _cpu_defaults(entry, facts)
    fixed: dict[str, object] = {"model": "weights", "max_model_len": entry.context_length}
    own: dict[str, object] = {"engine": fixed | defaults | entry.engine}
    if entry.environment:
        own["environment"] = entry.environment
    prompt = Step(
        name=f"{name}.prompt",
        environment="onnx",
        inputs=(_PROMPT,),
        outputs=(_TOKENS,),
        parameters={"context_length": entry.context_length},
        instances=PROMPT_INSTANCES,
    )
    engine = Step(
        name=f"{name}.engine",
        environment="vllm",
        inputs=_ENGINE_INPUTS,
        outputs=_ENGINE_OUTPUTS,
        parameters=own,
        decoupled=True,
        whole_device=True,
    )
    beside = (_SAMPLING, _REPLY, _IMAGES) if facts.vision else (_SAMPLING, _REPLY)
    routes = (
        Route(prompt, ("prompt",), ("token_ids",)),
        Route(engine, ("token_ids", *(tensor.name for tensor in beside)), ("event",)),
    )
    about = {"toolkit.context_length": entry.context_length, "toolkit.cancel": engine.name}
    ensemble = ensemble_config(name, ((_PROMPT, *beside), (_EVENT,)), routes, public | about)
    return [ensemble, step_config(prompt, target), step_config(engine, target)]


def _cpu_defaults(entry: LlmEntry, facts: LlmFacts) -> dict[str, object]:
    """What vLLM's own defaults get wrong for a CPU that is shared with other models.

    Compiling costs minutes at each start and gains little. Left alone, the KV cache demands 92 % of
    the machine's memory and the engine does not start; this one holds all sequences at full length,
    up to 4 GiB, and at least one. A CPU without AVX-512 computes in float32 unless told otherwise.
    """
    sequences = int(entry.engine.get("max_num_seqs", _CPU_SEQUENCES))
    blocks = -(-entry.context_length // _CACHE_BLOCK_TOKENS) + 1
    halves = 1 if "16" in str(entry.engine.get("dtype", "")) else 2
    one = blocks * _CACHE_BLOCK_TOKENS * facts.cache_bytes_per_token * halves
    return {
        "enforce_eager": True,
        "max_num_seqs": sequences,
        "kv_cache_memory_bytes": max(one, min(sequences * one, _CPU_CACHE_BYTES)),
    }
