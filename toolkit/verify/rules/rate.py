"""Rate limiter: resources that models share, and calls that wait for what their caller holds.

A resource has as many units as its largest user takes. A model that calls another one keeps its
own units until the answer is there.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from toolkit.model_config import ModelInstanceGroup
from toolkit.verify.ensemble import is_decoupled, readable
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.python_calls import Call, calls
from toolkit.verify.rule import rule
from toolkit.verify.rules.instances import groups

Resource = tuple[str, int]
"""Its name and device; −1 for one that all devices share."""
Units = dict[Resource, int]

_HANGS = "{target} loads both; a request waits for ever, and with it the server's other models"
_MAY_HANG = "{target} loads both; requests wait for ever %s"
_FLAG = "--rate-limit=execution_count"


@rule("rate-limiter-call", "Call that waits for what its caller holds", Effect.FAILS)
def rate_limiter_call(model: Model) -> Iterator[Hit]:
    """A model and one that it calls (BLS, also through ensembles) take units of one resource.

    The caller keeps its units while it waits, so both together must fit into what there is: the
    largest `count` that any model asks for. `toolkit serve` turns the rate limiter on where a
    config has one; a container's server has it off unless it is started with the flag.
    """
    total = _total(model)
    held = [_units(group) for _, group in groups(model)]
    if not any(held):
        return
    for call in calls(model):
        blocked = next(
            (found for own in held if (found := _blocked(model, call, own, total))), None
        )
        if blocked is not None:
            yield _hit(model, call, *blocked, sure=call.sure and not is_decoupled(model))
            continue
        busy = _together(model, total)
        if (blocked := _blocked(model, call, busy, total)) is not None:
            yield _hit(model, call, *blocked, sure=False, busy=True)


def _hit(
    model: Model, call: Call, name: str, waiting: str, *, sure: bool, busy: bool = False
) -> Hit:
    through = "" if waiting == call.target else f" (through '{call.target}')"
    when = f"when the server has {_FLAG}" if not model.target.embedded else "under load"
    sure = sure and model.target.embedded
    hit = model.hit_file(
        call.file,
        f"'{model.name}' holds the resource '{name}' and calls '{waiting}'{through}, which needs it"
        + (": with all instances at work too little is left" if busy else " too"),
        f"give '{waiting}' a resource of its own, or raise the count of '{name}' elsewhere so that "
        "both fit",
        call.line,
    )
    effect = Effect.FAILS if sure else Effect.RISK
    return Hit(
        hit.place, hit.field, hit.message, hit.fix, _HANGS if sure else _MAY_HANG % when, effect
    )


def _blocked(
    model: Model, call: Call, held: Units, total: Units, seen: frozenset[str] = frozenset()
) -> tuple[str, str] | None:
    """The resource that is lacking for a call, and the model that waits for it."""
    called = readable(model.neighbours.get(call.target))
    if called is None or call.target in seen:
        return None
    seen |= {call.target}
    if called.is_ensemble:  # its steps run one after the other, and hold nothing together
        steps = {step.model_name for step in called.config.ensemble_scheduling.step}
        inner = [Call(step, call.file, call.line) for step in sorted(steps)]
        return _first(called, inner, held, total, seen)
    needs = [_units(group) for _, group in groups(called)] or [{}]
    lacking = [_lacking(held, need, total) for need in needs]
    if all(lacking):
        return str(lacking[0]), called.name
    more = max(needs, key=lambda need: sum(need.values()))
    return _first(called, list(calls(called)), _add(held, more), total, seen)


def _first(
    model: Model, found: list[Call], held: Units, total: Units, seen: frozenset[str]
) -> tuple[str, str] | None:
    results = (_blocked(model, call, held, total, seen) for call in found)
    return next((result for result in results if result is not None), None)


def _lacking(held: Units, need: Units, total: Units) -> str | None:
    for resource, count in need.items():
        if held.get(resource, 0) and held[resource] + count > total[resource]:
            return resource[0]
    return None


def _add(one: Units, other: Units) -> Units:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {*one, *other}}


def _together(model: Model, total: Units) -> Units:
    """What all of a model's instances hold that can work at once."""
    held: Units = {}
    for _, group in groups(model):
        for resource, count in _units(group).items():
            most = min(max(1, group.count), total[resource] // count)
            held[resource] = min(total[resource], held.get(resource, 0) + most * count)
    return held


def _total(model: Model) -> Units:
    """Units that there are of each resource, when every model is loaded."""
    found: Units = defaultdict(int)
    for each in model.neighbours.values():
        for _, group in groups(each) if readable(each) else ():
            for resource, count in _units(group).items():
                found[resource] = max(found[resource], count)
    return dict(found)


def _units(group: ModelInstanceGroup) -> Units:
    """What one instance takes; the CPU counts as device 0."""
    device = group.gpus[0] if group.gpus else 0
    return {
        (each.name, -1 if getattr(each, "global") else device): each.count
        for each in group.rate_limiter.resources
        if each.count
    }


@rule("rate-limiter-resource", "Resource that is global here and not there", Effect.REFUSED)
def rate_limiter_resource(model: Model) -> Iterator[Hit]:
    """A resource belongs to the whole server (`global`) or to each device, in all models alike.

    With the rate limiter on, the server refuses the model that it loads second.
    """
    kinds = _kinds(model.neighbours)
    for path, group in groups(model):
        for index, each in enumerate(group.rate_limiter.resources):
            mine = bool(getattr(each, "global"))
            if other := next((n for n, kind in kinds[each.name] if kind != mine), None):
                hit = model.hit(
                    f"{path}.rate_limiter.resources[{index}]",
                    f"the resource '{each.name}' is {'global' if mine else 'one of each device'} "
                    f"here and {'one of each device' if mine else 'global'} in '{other}'",
                    "write the same in both, or give one of them another name",
                )
                effect = Effect.REFUSED if model.target.embedded else Effect.RISK
                yield Hit(hit.place, hit.field, hit.message, hit.fix, effect=effect)


def _kinds(models: Mapping[str, Model]) -> dict[str, list[tuple[str, bool]]]:
    """Resource → the models that use it, and whether as a global one."""
    found: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for name, model in models.items():
        for _, group in groups(model) if readable(model) else ():
            for each in group.rate_limiter.resources:
                found[each.name].append((name, bool(getattr(each, "global"))))
    return found


RULES = (rate_limiter_call, rate_limiter_resource)
