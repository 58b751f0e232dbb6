"""Rate limiter: shared resources, and calls that wait for a resource that their caller holds.

The number of units of a resource is the largest `count` in any model. A model that calls another
model keeps its own units until it gets the response.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from toolkit.model_config import ModelInstanceGroup
from toolkit.verifier.ensemble import is_decoupled, readable
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.python_calls import Call, calls
from toolkit.verifier.rule import rule
from toolkit.verifier.rules.instances import groups

Resource = tuple[str, int]
"""Its name and device; -1 if all devices share it."""
Units = dict[Resource, int]

_HANGS = "{target} loads both models; a request waits forever and blocks the server's other models"
_MAY_HANG = "{target} loads both models; requests can wait forever %s"
_FLAG = "--rate-limit=execution_count"


@rule("rate-limiter-call", "Call that waits for a resource of its caller", Effect.FAILS)
def rate_limiter_call(model: Model) -> Iterator[ModelFinding]:
    """A model and a model that it calls (BLS, also through ensembles) use the same resource.

    The caller keeps its units while it waits, so the resource must have enough units for both. It
    has as many as the largest `count` in any model. `toolkit serve` enables the rate limiter if a
    config uses it; in a container it is disabled unless Triton is started with the flag.
    """
    total = _total(model)
    held = [_units(group) for _, group in groups(model)]
    if not any(held):
        return
    for call in calls(model):
        blocked = next((each for own in held if (each := _blocked(model, call, own, total))), None)
        # a certain deadlock hides the one that depends on load
        if blocked is not None:
            yield _finding(model, call, *blocked, sure=call.sure and not is_decoupled(model))
            continue
        busy = _together(model, total)
        if (blocked := _blocked(model, call, busy, total)) is not None:
            yield _finding(model, call, *blocked, sure=False, busy=True)


def _finding(
    model: Model, call: Call, name: str, waiting: str, *, sure: bool, busy: bool = False
) -> ModelFinding:
    through = "" if waiting == call.target else f" (through '{call.target}')"
    when = f"if the server is started with {_FLAG}" if not model.target.embedded else "under load"
    sure = sure and model.target.embedded
    finding = model.file_finding(
        call.file,
        f"'{model.name}' holds the resource '{name}' and calls '{waiting}'{through}, which needs it"
        + (": if all instances are busy, too few units are left" if busy else " too"),
        f"give '{waiting}' its own resource, or raise the count of '{name}' in another model so "
        "that there are enough units for both",
        call.line,
    )
    outcome = _HANGS if sure else _MAY_HANG % when
    return replace(finding, outcome=outcome, effect=Effect.FAILS if sure else Effect.RISK)


def _blocked(
    model: Model, call: Call, held: Units, total: Units, seen: frozenset[str] = frozenset()
) -> tuple[str, str] | None:
    """The resource that a call waits for, and the model that needs it."""
    called = readable(model.neighbours.get(call.target))
    if called is None or call.target in seen:
        return None
    seen |= {call.target}
    if called.is_ensemble:  # steps run one after another and never hold resources together
        steps = {step.model_name for step in called.config.ensemble_scheduling.step}
        inner = [Call(step, call.file, call.line) for step in sorted(steps)]
        return _first(called, inner, held, total, seen)
    # one group that can run is enough; without groups nothing is needed
    needs = [_units(group) for _, group in groups(called)] or [{}]
    lacking = [_lacking(held, need, total) for need in needs]
    if all(lacking):
        return str(lacking[0]), called.name
    more = max(needs, key=lambda need: sum(need.values()))
    return _first(called, list(calls(called)), _add(held, more), total, seen)


def _first(
    model: Model, calls: list[Call], held: Units, total: Units, seen: frozenset[str]
) -> tuple[str, str] | None:
    results = (_blocked(model, call, held, total, seen) for call in calls)
    return next((result for result in results if result is not None), None)


def _lacking(held: Units, need: Units, total: Units) -> str | None:
    for resource, count in need.items():
        # without units of its own the caller does not hold anything back
        if held.get(resource, 0) and held[resource] + count > total[resource]:
            return resource[0]
    return None


def _add(one: Units, other: Units) -> Units:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {*one, *other}}


def _together(model: Model, total: Units) -> Units:
    """The units that all instances of a model can hold at the same time."""
    held: Units = {}
    for _, group in groups(model):
        for resource, count in _units(group).items():
            # not more instances run than there are units for
            most = min(max(1, group.count), total[resource] // count)
            held[resource] = min(total[resource], held.get(resource, 0) + most * count)
    return held


def _total(model: Model) -> Units:
    """The units of each resource when all models are loaded."""
    units: Units = defaultdict(int)
    for each in model.neighbours.values():
        for _, group in groups(each) if readable(each) else ():
            for resource, count in _units(group).items():
                units[resource] = max(units[resource], count)
    return dict(units)


def _units(group: ModelInstanceGroup) -> Units:
    """The units that one instance takes; the CPU counts as device 0."""
    device = group.gpus[0] if group.gpus else 0
    return {
        (each.name, -1 if getattr(each, "global") else device): each.count
        for each in group.rate_limiter.resources
        if each.count
    }


@rule(
    "rate-limiter-resource",
    "Resource that is global in one model and not in another",
    Effect.REFUSED,
)
def rate_limiter_resource(model: Model) -> Iterator[ModelFinding]:
    """A resource must be global, or belong to each device, in all models alike.

    If the rate limiter is enabled, the server refuses the second model that it loads.
    """
    kinds = _kinds(model.neighbours)
    for path, group in groups(model):
        for index, each in enumerate(group.rate_limiter.resources):
            mine = bool(getattr(each, "global"))
            if other := next((n for n, kind in kinds[each.name] if kind != mine), None):
                finding = model.finding(
                    f"{path}.rate_limiter.resources[{index}]",
                    f"the resource '{each.name}' is {'global' if mine else 'per device'} here but "
                    f"{'per device' if mine else 'global'} in '{other}'",
                    "use the same setting in both models, or rename one of the resources",
                )
                effect = Effect.REFUSED if model.target.embedded else Effect.RISK
                yield replace(finding, effect=effect)


def _kinds(models: Mapping[str, Model]) -> dict[str, list[tuple[str, bool]]]:
    """Resource → the models that use it, and whether it is global there."""
    kinds: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for name, model in models.items():
        for _, group in groups(model) if readable(model) else ():
            for each in group.rate_limiter.resources:
                kinds[each.name].append((name, bool(getattr(each, "global"))))
    return kinds


RULES = (rate_limiter_call, rate_limiter_resource)
