"""Ensembles: their own config, the models they name, and the graph of tensors."""

from collections.abc import Iterator
from difflib import get_close_matches

from toolkit.verify.ensemble import Ensemble, Step, readable
from toolkit.verify.maps import explained
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule

_FORBIDDEN = ("instance_group", "optimization", "model_warmup")


def graph(model: Model) -> Ensemble | None:
    """The model's graph if it is an ensemble with steps."""
    return Ensemble(model) if model.config.ensemble_scheduling.step else None


@rule("ensemble-config", "Config that no ensemble may have", Effect.REFUSED)
def ensemble_config(model: Model) -> Iterator[Hit]:
    """An ensemble has `platform: "ensemble"` and steps, each with a model and both maps.

    It has no instances of its own: `instance_group`, `optimization` and `model_warmup` belong to
    its steps.
    """
    config = model.config
    if not model.is_ensemble:
        return
    if config.platform != "ensemble" and config.backend != "ensemble":
        text = f"a model with ensemble_scheduling, and the platform is '{config.platform}'"
        yield model.hit("platform", text, 'write platform: "ensemble" and no backend')
    if not config.ensemble_scheduling.step:
        text = f"the ensemble '{model.name}' has no step"
        yield model.hit("ensemble_scheduling", text, "write ensemble_scheduling { step { … } }")
    for name in _FORBIDDEN:
        if len(getattr(config, name)) if name != "optimization" else config.HasField(name):
            text = f"an ensemble may not have {name}"
            place = model.at(name, name=True)
            yield Hit(place, name, text, "move it to the models of the steps")
    for index, step in enumerate(config.ensemble_scheduling.step):
        path = f"ensemble_scheduling.step[{index}]"
        for name in ("model_name", "input_map", "output_map"):
            if not getattr(step, name):
                yield model.hit(path, f"this step has no {name}", f"write its {name}")


@rule("ensemble-model", "Step whose model or version is not there", Effect.REFUSED)
def ensemble_model(model: Model) -> Iterator[Hit]:
    """Each step names another model of the repository, and a version of it that is served.

    `model_version: -1` takes the newest. Left out it is 0, which means version 0. No ensemble may
    contain itself, not even through others.
    """
    steps = Ensemble(model).steps if model.is_ensemble else []
    unused = set(model.neighbours) - {step.config.model_name for step in steps} - {model.name}
    for step in steps:
        name = step.config.model_name
        path = f"{step.path}.model_name"
        if name and name not in model.neighbours:
            near = get_close_matches(name, sorted(unused), 1, 0.8)
            yield model.hit(
                path,
                f"there is no model '{name}' in this repository",
                f"did you mean '{near[0]}'?"
                if near
                else f"add the model '{name}', or fix the name",
            )
        elif name and _contains(model.neighbours[name], model.name):
            text = f"'{name}' contains the ensemble '{model.name}' itself"
            yield model.hit(path, text, "break the circle")
        elif step.model is not None:
            yield from _version(model, step, step.model)


def _version(model: Model, step: Step, used: Model) -> Iterator[Hit]:
    number = step.config.model_version
    served = used.served_versions
    if number == -1 or not served or number in served:
        return
    there = ", ".join(map(str, served))
    path = f"{step.path}.model_version"
    text = (
        "model_version is not written, which means version 0"
        if number == 0
        else f"version {number} of '{used.name}' is not served"
    )
    yield model.hit(path, f"{text}; served is {there}", "write model_version: -1 for the newest")


def _contains(model: Model, name: str, seen: frozenset[str] = frozenset()) -> bool:
    if model.name == name:
        return True
    if model.name in seen or readable(model) is None:
        return False
    steps = {step.model_name for step in model.config.ensemble_scheduling.step}
    inner = [model.neighbours[each] for each in sorted(steps) if each in model.neighbours]
    return any(_contains(each, name, seen | {model.name}) for each in inner)


@rule("ensemble-unused", "Tensor that nothing reads", Effect.REFUSED)
def ensemble_unused(model: Model) -> Iterator[Hit]:
    """Every ensemble input and every mapped output must be read by a step or be an output.

    A step's output that nobody needs is simply left out of its `output_map`.
    """
    if (ensemble := graph(model)) is None:
        return
    known = explained(model, ensemble)  # by `map-key-twice`
    for index, name in enumerate(ensemble.inputs):
        if name not in {*ensemble.readers, *ensemble.writers, *known}:
            text = f"no step reads the ensemble input '{name}'"
            yield model.hit(f"input[{index}].name", text, "map it to a step's input, or remove it")
    for step in ensemble.steps:
        for key, tensor in sorted(step.config.output_map.items()):
            if tensor not in {*ensemble.readers, *ensemble.outputs, *known}:
                near = get_close_matches(tensor, _missing(ensemble), 1, 0.6)
                yield model.hit(
                    f"{step.output_path(key)}.value",
                    f"no step reads '{tensor}', and it is no output of the ensemble",
                    f"did you mean '{near[0]}'?" if near else "remove this output_map",
                )


@rule("ensemble-undefined", "Tensor that nothing writes", Effect.REFUSED)
def ensemble_undefined(model: Model) -> Iterator[Hit]:
    """What a step reads, and what the ensemble returns, must be an input or some step's output."""
    if (ensemble := graph(model)) is None:
        return
    sources = [*ensemble.inputs, *ensemble.writers]
    known = explained(model, ensemble)  # by `map-key-twice`
    for step in ensemble.steps:
        for key, tensor in sorted(step.config.input_map.items()):
            if tensor not in {*sources, *known}:
                text = f"nothing writes '{tensor}': it is no ensemble input and no step's output"
                path = f"{step.input_path(key)}.value"
                yield model.hit(path, text, _suggest(tensor, sources))
    for index, name in enumerate(ensemble.outputs):
        passed_on = name in ensemble.inputs and name in ensemble.readers
        if name not in {*ensemble.writers, *known} and not passed_on:
            text = f"no step writes the ensemble output '{name}'"
            yield model.hit(f"output[{index}].name", text, _suggest(name, list(ensemble.writers)))


def _missing(ensemble: Ensemble) -> list[str]:
    sources = {*ensemble.inputs, *ensemble.writers}
    return [name for name in [*ensemble.readers, *ensemble.outputs] if name not in sources]


def _suggest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1, 0.6)
    return f"did you mean '{near[0]}'?" if near else "write it in a step's output_map"


@rule("ensemble-twice", "Tensor that is written twice", Effect.REFUSED)
def ensemble_twice(model: Model) -> Iterator[Hit]:
    """A tensor of the ensemble has one writer."""
    if (ensemble := graph(model)) is None:
        return
    first: dict[str, str] = {}
    for step in ensemble.steps:
        for key, tensor in sorted(step.config.output_map.items()):
            here = f"output '{key}' of step {step.index}"
            if tensor in first:
                yield model.hit(
                    f"{step.output_path(key)}.value",
                    f"'{tensor}' is written by {first[tensor]} already",
                    "give this output a name of its own",
                )
            first.setdefault(tensor, here)


@rule("ensemble-overwrite", "Step that writes an ensemble input", Effect.RISK)
def ensemble_overwrite(model: Model) -> Iterator[Hit]:
    """A step's output carries the name of an ensemble input.

    The server lets it pass; whether a reader gets the request's tensor or the step's is left to
    timing.
    """
    if (ensemble := graph(model)) is None:
        return
    for step in ensemble.steps:
        for key, tensor in sorted(step.config.output_map.items()):
            if tensor in ensemble.inputs:
                text = f"this writes over the ensemble input '{tensor}'"
                yield model.hit(f"{step.output_path(key)}.value", text, "choose another name")


@rule("ensemble-cycle", "Steps that wait for each other", Effect.REFUSED)
def ensemble_cycle(model: Model) -> Iterator[Hit]:
    """Steps whose inputs come, through others, from their own outputs can never begin."""
    if (ensemble := graph(model)) is None or _missing(ensemble):
        return
    stuck = [
        step for step in ensemble.steps if not set(step.config.input_map.values()) <= ensemble.ready
    ]
    if stuck:
        names = ", ".join(f"{step.index} ({step.config.model_name})" for step in stuck)
        yield model.hit(
            stuck[0].path,
            f"the steps {names} wait for each other's outputs",
            "feed one of them from an ensemble input or an earlier step",
        )


RULES = (
    ensemble_config, ensemble_model, ensemble_unused, ensemble_undefined, ensemble_twice,
    ensemble_overwrite, ensemble_cycle,
)  # fmt: skip
