"""Checks a language model's entry as a whole: instances, engine and its arguments."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources

from toolkit.contract import INTERFACES
from toolkit.engine_arguments import SET_BY_US, Engine, engine
from toolkit.engine_arguments.contents import refused_contents
from toolkit.engine_arguments.together import contradictions
from toolkit.engine_arguments.values import misfits
from toolkit.finding import FieldFinding
from toolkit.kinds.checks import (
    source_findings,
    sourced_findings,
    version_findings,
    warmup_findings,
)
from toolkit.kinds.kind import Surroundings
from toolkit.kinds.llm.engine import CACHE_BLOCK_TOKENS, CPU_SEQUENCES
from toolkit.kinds.llm.fields import LlmEntry
from toolkit.kinds.llm.tensorrt_llm import engine_findings
from toolkit.names import nearest
from toolkit.targets import Target, with_engine


def llm_findings(entry: LlmEntry, around: Surroundings) -> Iterator[FieldFinding]:
    """All findings of one entry."""
    yield from sourced_findings(entry, entry.parts.items(), around)
    yield from _engine_group(entry)
    yield from warmup_findings(entry)
    yield from version_findings(entry, only_first=True)
    yield from _entry_findings(entry, around)


def _engine_group(entry: LlmEntry) -> Iterator[FieldFinding]:
    groups = entry.instances
    if not groups:
        return
    # each instance would load the weights again and take its own cache
    if len(groups) > 1 or groups[0].count > 1:
        yield (
            ("instances",),
            "an engine has one instance; it batches by itself",
            "use data_parallel_size or tensor_parallel_size in engine_args",
        )
    if groups[0].device == "cpu":
        yield ("instances", 0, "device"), "the engine runs on the device of its vLLM", "omit it"


def _entry_findings(entry: LlmEntry, around: Surroundings) -> Iterator[FieldFinding]:
    if entry.engine == "tensorrt-llm":
        yield from engine_findings(entry.model_fields_set, entry.engine_args)
    for argument in entry.engine_args if entry.engine == "vllm" else ():
        if argument in SET_BY_US:
            hint = f"use `{SET_BY_US[argument]}`"
            yield ("engine_args", argument), "is set by the toolkit", hint
    if around.target and around.target.engine != entry.engine:
        yield from _missing_engine(entry, around.target)
    elif around.target and entry.engine == "vllm":
        assert around.target.vllm is not None
        yield from _vllm_findings(entry, engine(around.target.vllm), gpu=around.target.gpu)
    if entry.chat_template:
        yield from _template_findings(entry.chat_template, around)
    for name, adapter in entry.adapters.items():
        place = ("adapters", name, "source")
        yield from source_findings(adapter.source, adapter.revision, place, around)
    # `priority` sets the policy itself
    if entry.priority and entry.engine_args.get("scheduling_policy", "priority") != "priority":
        hint = "omit one of them"
        yield ("priority",), "contradicts scheduling_policy in engine_args", hint


_ENGINES = {"vllm": "vLLM", "tensorrt-llm": "TensorRT-LLM"}


def _missing_engine(entry: LlmEntry, target: Target) -> Iterator[FieldFinding]:
    where = f"the image {target.image}" if target.image else f"the target {target.name}"
    if entry.engine == "tensorrt-llm" and not target.gpu:
        where = f"TensorRT-LLM only runs on NVIDIA GPUs: the target {target.name}"
    yield (
        ("engine",),
        f"is {entry.engine}, and {where} has no {_ENGINES[entry.engine]}",
        f"build for --target {with_engine(target.release, entry.engine)[0]}",
    )


def _template_findings(path: str, around: Surroundings) -> Iterator[FieldFinding]:
    from toolkit.kinds.llm.template import problem_of  # noqa: PLC0415  jinja2 takes 50 ms

    if not (around.folder / path).is_file():
        hint = f"paths are relative to the folder of {around.file}"
        yield ("chat_template",), f"the file {path} does not exist", hint
    elif problem := problem_of(around.folder / path):
        yield ("chat_template",), f"{path}{problem}", "correct the chat template"


def _vllm_findings(entry: LlmEntry, vllm: Engine, *, gpu: bool) -> Iterator[FieldFinding]:
    """The settings that this version of vLLM would refuse when the engine starts."""
    # those have a finding of their own already
    arguments = {name: v for name, v in entry.engine_args.items() if name not in SET_BY_US}
    found = [*misfits(arguments, vllm), *refused_contents(arguments, vllm)]
    # what the build adds must not contradict the entry either
    defaults = {"max_loras": len(entry.adapters)} if entry.adapters else {}
    defaults |= {} if gpu else {"max_num_seqs": CPU_SEQUENCES, "block_size": CACHE_BLOCK_TOKENS}
    found += contradictions(defaults | arguments, entry.context_length)
    found += [*_ours(arguments), *_platform(arguments, gpu=gpu)]
    yield from ((("engine_args", *at), text, hint) for at, text, hint in found)
    yield from _unknown(("tool_parser",), entry.tool_parser, vllm.tool_parsers, vllm)
    reasoning: dict[tuple[str, ...], object] = {("reasoning_parser",): entry.reasoning_parser}
    # a plugin brings names that the list does not have
    if "reasoning_parser_plugin" not in arguments:
        reasoning[("engine_args", "reasoning_parser")] = arguments.get("reasoning_parser")
    for place, name in reasoning.items():
        yield from _unknown(place, name, vllm.reasoning_parsers, vllm)


def _unknown(
    place: tuple[str, ...], name: object, known: Sequence[str], vllm: Engine
) -> Iterator[FieldFinding]:
    if isinstance(name, str) and name and name not in known:
        text = f"is '{name}', and vLLM {vllm.version} has no parser of that name"
        yield place, text, nearest(name, known)


def _platform(arguments: Mapping[str, object], *, gpu: bool) -> Iterator[FieldFinding]:
    """Values that vLLM takes on other hardware. Its attention kernels read blocks of 16 tokens on
    NVIDIA's GPUs and of 32 on a CPU (`get_supported_kernel_block_sizes`)."""
    size, unit = arguments.get("block_size"), 16 if gpu else 32
    if isinstance(size, int) and not isinstance(size, bool) and size > 0 and size % unit:
        text = f"is {size}; it must be a multiple of {unit} on a {'GPU' if gpu else 'CPU'}"
        yield ("block_size",), text, f"set it to {-(-size // unit) * unit}, or omit it"
    if not gpu and arguments.get("enable_sleep_mode") is True:
        yield ("enable_sleep_mode",), "needs a GPU", "omit it"
    draft = arguments.get("speculative_config")
    if not gpu and isinstance(draft, Mapping) and draft.get("method") == "suffix":
        place = ("speculative_config", "method")
        yield place, "is suffix, which needs the package arctic-inference", "use `method: ngram`"
    if not gpu:
        yield from _passes(arguments.get("compilation_config"))


def _passes(compilation: object) -> Iterator[FieldFinding]:
    """The engine's environment has the packages of its lock and no others."""
    passes = compilation.get("inductor_passes") if isinstance(compilation, Mapping) else None
    for name, path in passes.items() if isinstance(passes, Mapping) else ():
        module = str(path).partition(".")[0]
        if module not in sys.stdlib_module_names | _packages("vllm"):
            place = ("compilation_config", "inductor_passes", str(name))
            text = f"is '{path}', and the environment of vLLM has no module '{module}'"
            yield place, text, "use a function of vllm or torch, or a container with your module"


@cache
def _packages(environment: str) -> frozenset[str]:
    """Names of the packages that are installed in an environment, as they are imported."""
    lock = resources.files("toolkit.runtime").joinpath("locks", f"{environment}.lock")
    names = re.findall(r"^([a-z0-9._-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset({"vllm", "torch", *(re.sub(r"[.-]", "_", name) for name in names)})


_NUMBERS = ("vector", "scores")


def _ours(arguments: Mapping[str, object]) -> Iterator[FieldFinding]:
    """Values that vLLM takes and the step `engine` refuses."""
    structured = arguments.get("structured_outputs_config")
    backend = structured.get("backend") if isinstance(structured, Mapping) else None
    if backend not in (None, "xgrammar"):
        place = ("structured_outputs_config", "backend")
        yield place, f"is '{backend}'; only xgrammar compiles grammars", "omit it"
    scheduler = arguments.get("scheduler_cls")
    if isinstance(scheduler, str) and not scheduler.startswith("vllm."):
        text = f"is '{scheduler}'; only vLLM's own schedulers support structured output"
        yield ("scheduler_cls",), text, "omit it"
    for name, value in (("runner", "pooling"), ("task", "embed"), ("task", "classify")):
        if arguments.get(name) == value:
            others = [kind for kind, each in INTERFACES.items() if each.answer in _NUMBERS]
            names = " or ".join(f"`kind: {kind}`" for kind in others)
            hint = f"write {names} for a model that does not generate text"
            yield (name,), f"is '{value}', but kind `llm` is for models that generate text", hint
    if arguments.get("config_format") == "mistral":
        yield (
            ("config_format",),
            "is mistral, and weights are built with a config.json",
            "omit it",
        )
    if arguments.get("skip_tokenizer_init") is True:
        yield (
            ("skip_tokenizer_init",),
            "is true, but the toolkit's engine decodes replies",
            "omit it",
        )
