"""What is wrong with a language model's entry as a whole: instances, engine and its arguments."""

from collections.abc import Iterator

from toolkit.engine_arguments import SET_BY_US
from toolkit.finding import FieldFinding
from toolkit.kinds.checks import (
    source_findings,
    sourced_findings,
    version_findings,
    warmup_findings,
)
from toolkit.kinds.kind import Surroundings
from toolkit.kinds.llm.fields import LlmEntry
from toolkit.kinds.llm.tensorrt_llm import engine_findings
from toolkit.names import nearest, shown
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
    if len(groups) > 1 or groups[0].count > 1:
        yield (
            ("instances",),
            "an engine has one instance; it batches by itself",
            "use data_parallel_size or tensor_parallel_size in engine_args",
        )
    if groups[0].device == "cpu":
        yield ("instances", 0, "device"), "the engine runs where its vLLM does", "leave it out"


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
