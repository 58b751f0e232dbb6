"""Checks of a whole entry that several kinds share. They do not read files.

Each yields the path of the field inside the entry, what is wrong, and how to fix it.
"""

from collections.abc import Iterable, Iterator, Sequence

from toolkit.fields.entry import BaseEntry, DeclaredFields, QueuedFields, SourcedEntry
from toolkit.fields.serving import Instances, Part
from toolkit.fields.source import FORMS, parse_source, path_of
from toolkit.finding import FieldFinding
from toolkit.kinds.kind import Surroundings
from toolkit.targets import Target

FieldPath = tuple[str | int, ...]


def source_findings(
    text: str, revision: str | None, place: FieldPath, around: Surroundings
) -> Iterator[FieldFinding]:
    """A source whose revision does not fit, or whose local path does not exist."""
    try:
        # the text was checked by itself; together with a revision it may be wrong
        origin = parse_source(text, revision)
    except ValueError as error:
        yield (*place[:-1], "revision"), str(error), None
        return
    path = path_of(origin)
    if path is not None and not (around.folder / path).exists():
        hint = f"paths are relative to the folder of {around.file}; other sources: {FORMS}"
        yield place, f"{path} does not exist", hint


def sourced_findings(
    entry: SourcedEntry, parts: Iterable[tuple[str, Part]], around: Surroundings
) -> Iterator[FieldFinding]:
    """The source, instance groups and versions of an entry; `parts` are its other steps."""
    yield from source_findings(entry.source, entry.revision, ("source",), around)
    yield from _groups(("instances",), entry.instances or (), around.target)
    for step, part in parts:
        yield from _groups(("parts", step, "instances"), part.instances or (), around.target)
        # the other steps answer request by request, so Triton's batcher would only delay them
        if part.batching and step != "tokenize":
            yield ("parts", step, "batching"), "this step takes one request at a time", None


def _groups(
    at: FieldPath, groups: Sequence[Instances], target: Target | None
) -> Iterator[FieldFinding]:
    for index, group in enumerate(groups):
        place = (*at, index)
        if group.gpus and group.device == "cpu":
            yield (*place, "gpus"), "is for groups on GPUs", "omit device: cpu"
        if len(set(group.gpus)) != len(group.gpus) or any(each < 0 for each in group.gpus):
            text = f"{list(group.gpus)} must list different GPUs, numbered from 0"
            yield (*place, "gpus"), text, None
        # without a target nothing is wrong yet: `targets` may change it
        if target and not target.gpu and (group.gpus or group.device == "gpu"):
            hint = "move it to `targets: {container: {instances: …}}`"
            yield place, f"the target {target.name} has no GPUs", hint


def version_findings(entry: BaseEntry, *, only_first: bool) -> Iterator[FieldFinding]:
    """A version policy that is ambiguous; `only_first`: the model has version 1 and no other."""
    policy = entry.version_policy
    if policy is None:
        return
    given = [field for field in ("latest", "all", "specific") if getattr(policy, field) is not None]
    if len(given) != 1:
        text = f"has {', '.join(given) or 'no field'}"
        yield ("version_policy",), text, "write one of latest, all and specific"
    if policy.specific is not None and (not policy.specific or min(policy.specific) < 1):
        yield ("version_policy", "specific"), "must list versions from 1 up", "for example [1, 2]"
    # a build writes one version; only a user's own source can hold several
    if policy.specific and only_first and set(policy.specific) != {1}:
        text = f"a built model has version 1 only, not {list(policy.specific)}"
        yield ("version_policy", "specific"), text, "write [1]"


def warmup_findings(entry: SourcedEntry) -> Iterator[FieldFinding]:
    """Warm-up tensors of a kind whose tensors the toolkit knows."""
    for index, request in enumerate(entry.warmup):
        if request.inputs:
            hint = "the toolkit knows this kind's tensors; write `warmup: true`"
            yield ("warmup", index, "inputs"), "is for kind `python`", hint


def queue_findings(entry: QueuedFields, max_batch_size: int | None) -> Iterator[FieldFinding]:
    """Priorities and preferred batch sizes out of range; the size is None for the kind's own."""
    priority = entry.priority
    if priority and priority.default is not None and priority.default > priority.levels:
        text = f"is {priority.default}, more than levels {priority.levels}"
        yield ("priority", "default"), text, None
    for size in entry.batching.preferred if entry.batching else ():
        if size < 1 or (max_batch_size is not None and size > max_batch_size):
            text = f"{size} is not a batch size of this model; the largest is "
            yield ("batching", "preferred"), f"{text}{max_batch_size or 256}", None


def shape_findings(entry: DeclaredFields) -> Iterator[FieldFinding]:
    """Declared tensors whose `dims` are not a shape."""
    for side, tensors in (("inputs", entry.inputs), ("outputs", entry.outputs)):
        for name, tensor in tensors.items():
            if any(size == 0 or size < -1 for size in tensor.dims):
                text = f"{list(tensor.dims)} is not a shape"
                yield (side, name, "dims"), text, "sizes are 1 or more, or -1 for any"
