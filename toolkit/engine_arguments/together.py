"""Finds combinations of arguments that vLLM's config classes refuse when the engine starts.

The rules follow `vllm/config/scheduler.py`, `parallel.py`, `lora.py` and `create_engine_config` of
vLLM 0.32; older versions have the same ones for arguments that they know. Values of a wrong type
are left to `values`.
"""

from collections.abc import Iterator, Mapping

from toolkit.engine_arguments.values import Misfit


def contradictions(arguments: Mapping[str, object], context_length: int) -> Iterator[Misfit]:
    """Values with which an engine does not start; `arguments` include the known defaults."""
    given = _Given(arguments)
    yield from _batches(given, context_length)
    yield from _more_than(given, "max_num_active_seqs", "max_num_seqs")
    yield from _more_than(given, "data_parallel_size_local", "data_parallel_size")
    yield from _more_than(given, "max_loras", "max_cpu_loras")
    yield from _parallel(given)
    yield from _twice(given)
    yield from _more_than(given, "offload_num_in_group", "offload_group_size")
    yield from _needs(given)
    yield from _cache(given, context_length)
    yield from _ngrams(given)
    yield from _draft(given.inner("speculative_config"), given.is_set("speculative_config"))
    draft = given.inner("speculative_config")
    yield from (
        (("speculative_config", *at), text, fix)
        for at, text, fix in _more_than(draft, "prompt_lookup_min", "prompt_lookup_max")
    )


class _Given:
    """Arguments by type: what has another type, or is not set, is None."""

    def __init__(self, arguments: Mapping[str, object]) -> None:
        self._arguments = arguments

    def number(self, name: str) -> int | None:
        value = self._arguments.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, name: str) -> str | None:
        value = self._arguments.get(name)
        return value if isinstance(value, str) else None

    def is_set(self, name: str) -> bool:
        return self._arguments.get(name) is not None

    def on(self, name: str) -> bool:
        return self._arguments.get(name) is True

    def off(self, name: str) -> bool:
        return self._arguments.get(name) is False

    def inner(self, name: str) -> "_Given":
        value = self._arguments.get(name)
        return _Given(value if isinstance(value, Mapping) else {})


def _needs(given: _Given) -> Iterator[Misfit]:
    if given.is_set("collect_detailed_traces") and not given.is_set("otlp_traces_endpoint"):
        hint = "add `otlp_traces_endpoint: …`"
        yield ("collect_detailed_traces",), "needs otlp_traces_endpoint", hint
    profiler = given.inner("profiler_config")
    for name in ("torch", "proton"):
        if profiler.text("profiler") == name and not profiler.text(f"{name}_profiler_dir"):
            place, field = ("profiler_config",), f"{name}_profiler_dir"
            yield place, f"needs {field} with `profiler: {name}`", f"add `{field}: …`"
    mamba = given.inner("mamba_config")
    if mamba.is_set("ssu_algorithm") and str(mamba.text("backend")).upper() != "FLASHINFER":
        hint = "add `backend: flashinfer` to mamba_config"
        yield ("mamba_config", "ssu_algorithm"), "needs the backend flashinfer", hint


def _cache(given: _Given, context_length: int) -> Iterator[Misfit]:
    blocks, size = given.number("num_gpu_blocks_override"), given.number("block_size")
    if blocks is not None and size is not None and 0 < blocks * size < context_length:
        least = -(-context_length // size)
        text = f"is {blocks}; blocks of {size} tokens do not hold context_length ({context_length})"
        yield ("num_gpu_blocks_override",), text, f"set it to {least} or more"


def _ngrams(given: _Given) -> Iterator[Misfit]:
    """As `EngramConfig` checks its settings; `cpu_offload` is on by default."""
    ngrams = given.inner("engram_config")
    shared, pages = ngrams.on("dp_shared_memory"), ngrams.on("use_thp")
    for name, is_on in (("dp_shared_memory", shared), ("use_thp", pages)):
        if is_on and ngrams.off("cpu_offload"):
            fix = f"omit `cpu_offload: false` or {name}"
            yield ("engram_config", name), "needs cpu_offload", fix
    if shared and pages:
        yield (
            ("engram_config", "use_thp"),
            "cannot be combined with dp_shared_memory",
            "omit one of them",
        )
    if shared and (given.number("data_parallel_size") or 1) <= 1:
        fix = "set data_parallel_size to 2 or more, or omit it"
        yield ("engram_config", "dp_shared_memory"), "needs more than one replica", fix


_WITHOUT_MODEL = {"ngram", "[ngram]", "ngram_gpu", "suffix", "extract_hidden_states", "mtp"} | {
    "dspark"
}
"""Methods of speculation that need no second model, or find it in the first one's weights."""


def _draft(draft: _Given, is_set: bool) -> Iterator[Misfit]:
    """`SpeculativeConfig` is given a method that needs no model, or a model."""
    place, method = ("speculative_config",), draft.text("method")
    alone = method is not None and (method in _WITHOUT_MODEL or method.endswith("_mtp"))
    if not is_set or draft.text("model"):
        return
    if not alone:
        what = f"the method {method} needs" if method else "needs"
        text = f"{what} a `model` that proposes tokens"
        yield place, text, "add `model: FOLDER`, or `method: ngram`, which needs no model"
    elif method in ("ngram", "[ngram]", "ngram_gpu") and not draft.number("num_speculative_tokens"):
        yield place, "needs `num_speculative_tokens`", "add for example `num_speculative_tokens: 3`"


def _batches(given: _Given, context_length: int) -> Iterator[Misfit]:
    batch, sequences = given.number("max_num_batched_tokens"), given.number("max_num_seqs")
    at = ("max_num_batched_tokens",)
    if batch is not None and sequences is not None and batch < sequences:
        text = f"is {batch}, which is less than max_num_seqs ({sequences})"
        yield at, text, f"set it to {sequences} or more, or max_num_seqs to {batch} or less"
    if batch is not None and batch < context_length and given.off("enable_chunked_prefill"):
        text = f"is {batch}, less than context_length ({context_length}), and prompts are not split"
        yield at, text, f"set it to {context_length} or more, or omit enable_chunked_prefill"
    threshold = given.number("long_prefill_token_threshold")
    if threshold is not None and threshold > context_length:
        text = f"is {threshold}, more than context_length ({context_length})"
        yield ("long_prefill_token_threshold",), text, f"set it to {context_length} or less"


def _more_than(given: _Given, small: str, large: str) -> Iterator[Misfit]:
    less, more = given.number(small), given.number(large)
    if less is not None and more is not None and less > more:
        fix = f"set it to {more} or less, or {large} to {less} or more"
        yield (small,), f"is {less}, more than {large} ({more})", fix


def _parallel(given: _Given) -> Iterator[Misfit]:
    tensor = given.number("tensor_parallel_size") or 1
    size = given.number("data_parallel_size") or 1
    decode = given.number("decode_context_parallel_size") or 1
    if tensor % decode and (given.number("prefill_context_parallel_size") or 1) == 1:
        text = f"is {decode}, which does not divide tensor_parallel_size ({tensor})"
        yield ("decode_context_parallel_size",), text, None
    rank = given.number("data_parallel_rank")
    if rank is not None and rank >= size:
        text = f"is {rank}; with data_parallel_size {size} it must be less than {size}"
        yield ("data_parallel_rank",), text, None
    if given.on("data_parallel_external_lb") and given.on("data_parallel_hybrid_lb"):
        text = "cannot be combined with data_parallel_external_lb"
        yield ("data_parallel_hybrid_lb",), text, "omit one of them"
    rank, nodes = given.number("node_rank"), given.number("nnodes") or 1
    if rank is not None and rank >= nodes:
        text = f"is {rank}; with nnodes {nodes} it must be less than {nodes}"
        yield ("node_rank",), text, None
    for name in ("numa_bind_nodes", "numa_bind_cpus"):
        if given.is_set(name) and not given.on("numa_bind"):
            yield (name,), "needs numa_bind", "add `numa_bind: true`"
    yield from _experts(given, tensor * size)


def _experts(given: _Given, ranks: int) -> Iterator[Misfit]:
    if given.on("enable_eplb") and not given.on("enable_expert_parallel"):
        yield ("enable_eplb",), "needs expert parallelism", "add `enable_expert_parallel: true`"
    elif (
        given.on("enable_eplb")
        and ranks * (given.number("prefill_context_parallel_size") or 1) <= 1
    ):
        fix = "set tensor_parallel_size or data_parallel_size to 2 or more"
        yield ("enable_eplb",), "needs more than one GPU", fix
    spare = given.inner("eplb_config").number("num_redundant_experts")
    if spare and not given.on("enable_eplb"):
        place = ("eplb_config", "num_redundant_experts")
        yield place, "needs enable_eplb", "add `enable_eplb: true`"


_SETTINGS_TWICE = (
    ("attention_backend", "attention_config", "backend"),
    ("cudagraph_capture_sizes", "compilation_config", "cudagraph_capture_sizes"),
    ("max_cudagraph_capture_size", "compilation_config", "max_cudagraph_capture_size"),
    ("enable_flashinfer_autotune", "kernel_config", "enable_flashinfer_autotune"),
    ("spec_method", "speculative_config", "method"),
    ("spec_model", "speculative_config", "model"),
    ("spec_tokens", "speculative_config", "num_speculative_tokens"),
)


def _twice(given: _Given) -> Iterator[Misfit]:
    for name, group, field in _SETTINGS_TWICE:
        if given.is_set(name) and given.inner(group).is_set(field):
            yield (name,), f"is also set in {group}", "omit one of them"
