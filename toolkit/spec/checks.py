"""What single values cannot tell: names that clash, files that are missing, fields that contradict.

Each check yields where inside of the entry, what is wrong and what to do. Checks that need to know
the target run only when one is given. Reads no file but to see that it is there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.engine_arguments import SET_BY_US
from toolkit.finding import FieldFinding, Finding
from toolkit.spec import document
from toolkit.spec.contract import contract_findings
from toolkit.spec.document import Document
from toolkit.spec.entries import (
    STEPS,
    DiffusionEntry,
    EmbeddingEntry,
    EnsembleEntry,
    LlmEntry,
    PythonEntry,
    RerankEntry,
    SourcedEntry,
)
from toolkit.spec.explain import nearest, shown
from toolkit.spec.serving import Instances, Part
from toolkit.spec.source import FORMS, parse_source, path_of
from toolkit.targets import Target, with_engine

RESERVED = {"repository.json"}
STEP_NAMES = {step for steps in STEPS.values() for step in steps}
AnyEntry = SourcedEntry | EnsembleEntry


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an entry stands among."""

    entries: Mapping[str, AnyEntry]
    folder: Path
    target: Target | None
    file: str


def name_findings(read: Document, models: Mapping[str, Mapping[str, object]]) -> Iterator[Finding]:
    """Names of models, aliases and adapters that clash. Takes what stands there, checked or not."""
    taken: dict[str, document.Path] = {name: ("models", name) for name in models}
    for name, entry in models.items():
        path: document.Path = ("models", name)
        if name in RESERVED:
            yield read.finding(path, "is a file of the repository's own", "choose another name")
        owner, _, step = name.rpartition(".")
        if owner in models and step in STEP_NAMES:
            yield read.finding(path, f"is the name of a step of '{owner}'", "choose another name")
        adapters = entry.get("adapters")
        for adapter, about in adapters.items() if isinstance(adapters, dict) else ():
            here = (*path, "adapters", adapter)
            yield from _take(read, adapter, here, taken)
            if isinstance(about, dict):
                yield from _aliases(read, here, about.get("aliases"), taken)
        yield from _aliases(read, path, entry.get("aliases"), taken)


def _aliases(
    read: Document, path: document.Path, aliases: object, taken: dict[str, document.Path]
) -> Iterator[Finding]:
    for index, alias in enumerate(aliases if isinstance(aliases, list) else []):
        if isinstance(alias, str):
            yield from _take(read, alias, (*path, "aliases", index), taken)


def _take(
    read: Document, name: str, here: document.Path, taken: dict[str, document.Path]
) -> Iterator[Finding]:
    if name in taken:
        where = f"{document.dotted(taken[name])} (line {read.line(taken[name])})"
        yield read.finding(here, f"'{name}' is taken by {where}", "every name belongs to one")
    else:
        taken[name] = here


def entry_findings(name: str, entry: AnyEntry, around: Surroundings) -> Iterator[FieldFinding]:
    """Everything that is wrong with one entry as a whole."""
    if not isinstance(entry, EnsembleEntry):
        yield from _source(entry.source, entry.revision, ("source",), around)
        yield from _placement(entry, around.target)
        yield from _warmups(entry)
    yield from _versions(entry)
    match entry:
        case LlmEntry():
            yield from _llm(entry, around)
        case DiffusionEntry():
            if entry.steps > entry.max_steps:
                yield ("steps",), f"is {entry.steps}, more than max_steps {entry.max_steps}", None
        case EmbeddingEntry() | RerankEntry():
            yield from _queue(entry)
        case PythonEntry():
            yield from _queue(entry)
            yield from _python(entry)
        case EnsembleEntry():
            yield from _ensemble(name, entry, around)


def _source(
    text: str, revision: str | None, place: tuple[str | int, ...], around: Surroundings
) -> Iterator[FieldFinding]:
    try:
        origin = parse_source(text, revision)
    except ValueError as error:
        yield (*place[:-1], "revision"), str(error), None
        return
    path = path_of(origin)
    if path is not None and not (around.folder / path).exists():
        hint = f"paths start at the folder of {around.file}; other sources: {FORMS}"
        yield place, f"there is no {path}", hint


def _placement(entry: SourcedEntry, target: Target | None) -> Iterator[FieldFinding]:
    yield from _groups(("instances",), entry.instances or (), target)
    parts: list[tuple[str, Part]] = []
    if not isinstance(entry, PythonEntry):
        parts += entry.parts.items()
    for step, part in parts:
        yield from _groups(("parts", step, "instances"), part.instances or (), target)
        if part.batching and step != "tokenize":
            yield ("parts", step, "batching"), "this step takes one request at a time", None
    if isinstance(entry, LlmEntry) and entry.instances:
        yield from _one_engine(entry.instances)


def _groups(
    at: document.Path, groups: Sequence[Instances], target: Target | None
) -> Iterator[FieldFinding]:
    for index, group in enumerate(groups):
        place = (*at, index)
        if group.gpus and group.device == "cpu":
            yield (*place, "gpus"), "is for groups on GPUs", "leave out device: cpu"
        if len(set(group.gpus)) != len(group.gpus) or any(each < 0 for each in group.gpus):
            yield (*place, "gpus"), f"{list(group.gpus)} is no list of different GPUs", None
        if target and not target.gpu and (group.gpus or group.device == "gpu"):
            hint = "say it below `targets: {container: {instances: …}}`"
            yield place, f"the target {target.name} has no GPUs", hint


def _one_engine(groups: tuple[Instances, ...]) -> Iterator[FieldFinding]:
    if len(groups) > 1 or groups[0].count > 1:
        yield (
            ("instances",),
            "an engine is one instance: it batches by itself",
            "use data_parallel_size or tensor_parallel_size in engine_args",
        )
    if groups[0].device == "cpu":
        yield ("instances", 0, "device"), "the engine runs where its vLLM does", "leave it out"


def _versions(entry: AnyEntry) -> Iterator[FieldFinding]:
    policy = entry.version_policy
    if policy is None:
        return
    given = [field for field in ("latest", "all", "specific") if getattr(policy, field) is not None]
    if len(given) != 1:
        found = ", ".join(given) or "nothing"
        yield ("version_policy",), f"says {found}", "write one of latest, all and specific"
    if policy.specific is not None and (not policy.specific or min(policy.specific) < 1):
        yield ("version_policy", "specific"), "must list versions from 1 up", "for example [1, 2]"
    if policy.specific and not isinstance(entry, PythonEntry) and set(policy.specific) != {1}:
        problem = f"there is only version 1 of a built model, not {list(policy.specific)}"
        yield ("version_policy", "specific"), problem, "write [1]"


def _warmups(entry: SourcedEntry) -> Iterator[FieldFinding]:
    for index, request in enumerate(entry.warmup):
        if not isinstance(entry, PythonEntry):
            if request.inputs:
                hint = "the toolkit knows this kind's tensors; write `warmup: true`"
                yield ("warmup", index, "inputs"), "is for kind `python`", hint
            continue
        for name, value in request.inputs.items():
            place = ("warmup", index, "inputs", name)
            if name not in entry.inputs:
                yield place, "is no input of this model", nearest(name, entry.inputs)
            elif value.text is not None and entry.inputs[name].type != "STRING":
                yield (*place, "text"), f"'{name}' is {entry.inputs[name].type}, not STRING", None
            elif value.text is not None and value.data is not None:
                yield place, "has both `data` and `text`", "write one of them"
        for name, tensor in entry.inputs.items():
            given = request.inputs.get(name)
            dims = given.dims if given else None
            if dims is None and min(tensor.dims) < 0 and not tensor.optional:
                problem = f"'{name}' is {list(tensor.dims)}: a warm-up needs its size"
                yield ("warmup", index), problem, f"write inputs: {{{name}: {{dims: […]}}}}"


def _queue(entry: EmbeddingEntry | RerankEntry | PythonEntry) -> Iterator[FieldFinding]:
    priority = entry.priority
    if priority and priority.default is not None and priority.default > priority.levels:
        problem = f"is {priority.default}, more than levels {priority.levels}"
        yield ("priority", "default"), problem, None
    most = entry.batching.max_batch_size if entry.batching else None
    if isinstance(entry, PythonEntry):
        most = entry.max_batch_size
    for size in entry.batching.preferred if entry.batching else ():
        if size < 1 or (most is not None and size > most):
            problem = f"{size} is no batch size of this model, whose largest is {most or 256}"
            yield ("batching", "preferred"), problem, None


def _python(entry: PythonEntry) -> Iterator[FieldFinding]:
    batched = entry.max_batch_size > 0
    if entry.batching and entry.batching.max_batch_size is not None:
        hint = "write max_batch_size beside `inputs`"
        yield ("batching", "max_batch_size"), "is a field of the model itself here", hint
    if (entry.batching or entry.priority) and not batched:
        field = "batching" if entry.batching else "priority"
        hint = "set max_batch_size to 1 or more"
        yield (field,), "needs a model with a batch dimension", hint
    if entry.response_cache and entry.decoupled:
        yield ("response_cache",), "Triton cannot cache decoupled models", "leave out one of them"
    for name, tensor in entry.inputs.items():
        if tensor.ragged and not batched:
            yield ("inputs", name, "ragged"), "needs max_batch_size", "set it to 1 or more"
    yield from _dims(entry)
    if isinstance(entry.packages, tuple):
        for index, requirement in enumerate(entry.packages):
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(\[[\w,-]+\])?==[\w.+!-]+", requirement):
                problem = f"{shown(requirement)} is no pinned requirement"
                yield ("packages", index), problem, "write NAME==VERSION"
    if entry.contract:
        yield from contract_findings(entry.contract, entry.inputs, entry.outputs, batched)
        wants = entry.contract.kind == "llm"
        if wants != entry.decoupled:
            text = "is decoupled" if wants else "is not decoupled"
            fix = f"write decoupled: {str(wants).lower()}"
            yield ("decoupled",), f"a model with the contract '{entry.contract.kind}' {text}", fix


def _dims(entry: PythonEntry | EnsembleEntry) -> Iterator[FieldFinding]:
    for side, tensors in (("inputs", entry.inputs), ("outputs", entry.outputs)):
        for name, tensor in tensors.items():
            if any(size == 0 or size < -1 for size in tensor.dims):
                problem = f"{list(tensor.dims)} is no shape"
                yield (side, name, "dims"), problem, "sizes are 1 or more, or -1 for any"


def _ensemble(name: str, entry: EnsembleEntry, around: Surroundings) -> Iterator[FieldFinding]:
    known = [
        *around.entries,
        *(f"{n}.{s}" for n, e in around.entries.items() for s in STEPS[e.kind]),
    ]
    for index, step in enumerate(entry.steps):
        place = ("steps", index, "model")
        if step.model == name:
            yield place, "an ensemble cannot be its own step", None
        elif step.model not in known:
            hint = nearest(step.model, [each for each in known if each != name])
            yield place, f"there is no model '{step.model}' in this file", hint
    for cycle in _cycles(name, around.entries):
        yield ("steps",), f"these ensembles contain each other: {' → '.join(cycle)}", None
    yield from _dims(entry)
    if entry.contract:
        batched = entry.max_batch_size > 0
        yield from contract_findings(entry.contract, entry.inputs, entry.outputs, batched)
        if entry.contract.cancel and entry.contract.cancel not in known:
            problem = f"there is no model '{entry.contract.cancel}' in this file"
            yield ("contract", "cancel"), problem, nearest(entry.contract.cancel, known)


def _cycles(name: str, entries: Mapping[str, AnyEntry]) -> Iterator[list[str]]:
    """The first way from `name` back to itself."""
    paths = [[name]]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        entry = entries.get(path[-1])
        for step in entry.steps if isinstance(entry, EnsembleEntry) else ():
            if step.model == name and len(path) > 1:
                yield [*path, name]
                return
            if step.model not in seen and step.model != name:
                seen.add(step.model)
                paths.append([*path, step.model])


def _llm(entry: LlmEntry, around: Surroundings) -> Iterator[FieldFinding]:
    for argument in entry.engine_args:
        if argument in SET_BY_US:
            hint = f"use `{SET_BY_US[argument]}`"
            yield ("engine_args", argument), "is set by the toolkit", hint
    if around.target and around.target.engine != entry.engine:
        yield from _missing_engine(entry, around.target)
    elif around.target:
        yield from _engine_arguments(entry, around.target)
    if entry.chat_template and not (around.folder / entry.chat_template).is_file():
        hint = f"paths start at the folder of {around.file}"
        yield ("chat_template",), f"there is no file {entry.chat_template}", hint
    for name, adapter in entry.adapters.items():
        place = ("adapters", name, "source")
        yield from _source(adapter.source, adapter.revision, place, around)
    if entry.priority and entry.engine_args.get("scheduling_policy", "priority") != "priority":
        hint = "leave out one of them"
        yield ("priority",), "contradicts scheduling_policy in engine_args", hint


_ENGINES = {"vllm": "vLLM", "tensorrt-llm": "TensorRT-LLM"}


def _missing_engine(entry: LlmEntry, target: Target) -> Iterator[FieldFinding]:
    where = f"the image {target.image}" if target.image else f"the target {target.name}"
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
