"""Ensembles: their config, the models that they use, and the graph of tensors."""

from collections.abc import Iterator

from toolkit.names import close_matches
from toolkit.verifier.ensemble import Ensemble, Step, readable
from toolkit.verifier.finding import Effect, ModelFinding, draft
from toolkit.verifier.maps import explained
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule

_FORBIDDEN = ("instance_group", "optimization", "model_warmup")


def graph(model: Model) -> Ensemble | None:
    """The model's graph if it is an ensemble with steps."""
    return Ensemble(model) if model.config.ensemble_scheduling.step else None


@rule("ensemble-config", "Invalid ensemble config", Effect.REFUSED)
def ensemble_config(model: Model) -> Iterator[ModelFinding]:
    """An ensemble needs `platform: "ensemble"` and steps, each with a model and both maps.

    An ensemble has no instances. `instance_group`, `optimization` and `model_warmup` belong in the
    models of its steps.
    """
    config = model.config
    if not model.is_ensemble:
        return
    if config.platform != "ensemble" and config.backend != "ensemble":
        text = f"a model with ensemble_scheduling has the platform '{config.platform}'"
        yield model.finding("platform", text, 'write platform: "ensemble" and remove backend')
    if not config.ensemble_scheduling.step:
        text = f"the ensemble '{model.name}' has no steps"
        yield model.finding("ensemble_scheduling", text, "write ensemble_scheduling { step { … } }")
    for name in _FORBIDDEN:
        if len(getattr(config, name)) if name != "optimization" else config.HasField(name):
            text = f"an ensemble cannot have {name}"
            place = model.at(name, name=True)
            yield draft(place, text, "move it to the models of the steps")
    for index, step in enumerate(config.ensemble_scheduling.step):
        path = f"ensemble_scheduling.step[{index}]"
        for name in ("model_name", "input_map", "output_map"):
            if not getattr(step, name):
                yield model.finding(path, f"this step has no {name}", f"add {name}")


@rule("ensemble-model", "Step with an unknown model or version", Effect.REFUSED)
def ensemble_model(model: Model) -> Iterator[ModelFinding]:
    """Each step must name another model in the repository and a version of it that is served.

    `model_version: -1` means the newest version. The default is 0, which means version 0. An
    ensemble must not contain itself, directly or through other ensembles.
    """
    steps = Ensemble(model).steps if model.is_ensemble else []
    # suggestions come from models that are not used yet: two steps rarely name the same one
    unused = set(model.neighbours) - {step.config.model_name for step in steps} - {model.name}
    for step in steps:
        name = step.config.model_name
        path = f"{step.path}.model_name"
        if name and name not in model.neighbours:
            near = close_matches(name, sorted(unused), 1, 0.8)
            yield model.finding(
                path,
                f"this repository has no model '{name}'",
                f"did you mean '{near[0]}'?"
                if near
                else f"add the model '{name}', or fix the name",
            )
        elif name and _contains(model.neighbours[name], model.name):
            text = f"'{name}' contains this ensemble, '{model.name}'"
            yield model.finding(
                path, text, "remove one of the steps, so that no ensemble contains itself"
            )
        elif step.model is not None:
            yield from _version(model, step, step.model)


def _version(model: Model, step: Step, used: Model) -> Iterator[ModelFinding]:
    number = step.config.model_version
    served = used.served_versions
    if number == -1 or not served or number in served:
        return
    available = ", ".join(map(str, served))
    path = f"{step.path}.model_version"
    text = (
        "model_version is not set, which means version 0"
        if number == 0
        else f"version {number} of '{used.name}' is not served"
    )
    yield model.finding(
        path, f"{text}; served: {available}", "write model_version: -1 for the newest"
    )


def _contains(model: Model, name: str, seen: frozenset[str] = frozenset()) -> bool:
    if model.name == name:
        return True
    if model.name in seen or readable(model) is None:
        return False
    steps = {step.model_name for step in model.config.ensemble_scheduling.step}
    inner = [model.neighbours[each] for each in sorted(steps) if each in model.neighbours]
    return any(_contains(each, name, seen | {model.name}) for each in inner)


@rule("ensemble-unused", "Tensor that is not read", Effect.REFUSED)
def ensemble_unused(model: Model) -> Iterator[ModelFinding]:
    """Each ensemble input and each mapped output must be read by a step or be an ensemble output.

    To ignore an output of a step, leave it out of the `output_map`.
    """
    if (ensemble := graph(model)) is None:
        return
    known = explained(model, ensemble)  # `map-key-twice` reports these
    for index, name in enumerate(ensemble.inputs):
        if name not in {*ensemble.readers, *ensemble.writers, *known}:
            text = f"no step reads the ensemble input '{name}'"
            yield model.finding(
                f"input[{index}].name", text, "map it to a step's input, or remove it"
            )
    for step in ensemble.steps:
        for key, tensor in sorted(step.config.output_map.items()):
            if tensor not in {*ensemble.readers, *ensemble.outputs, *known}:
                near = close_matches(tensor, _missing(ensemble), 1, 0.6)
                yield model.finding(
                    f"{step.output_path(key)}.value",
                    f"'{tensor}' is not read by any step and is not an output of the ensemble",
                    f"did you mean '{near[0]}'?" if near else "remove this entry of output_map",
                )


@rule("ensemble-undefined", "Tensor that is never written", Effect.REFUSED)
def ensemble_undefined(model: Model) -> Iterator[ModelFinding]:
    """Tensors that are read or returned must be ensemble inputs or outputs of a step."""
    if (ensemble := graph(model)) is None:
        return
    sources = [*ensemble.inputs, *ensemble.writers]
    known = explained(model, ensemble)  # `map-key-twice` reports these
    for step in ensemble.steps:
        for key, tensor in sorted(step.config.input_map.items()):
            if tensor not in {*sources, *known}:
                text = f"'{tensor}' is neither an ensemble input nor an output of a step"
                path = f"{step.input_path(key)}.value"
                yield model.finding(path, text, _suggest(tensor, sources))
    for index, name in enumerate(ensemble.outputs):
        # Triton accepts an input that is an output as well if a step reads it
        passed_on = name in ensemble.inputs and name in ensemble.readers
        if name not in {*ensemble.writers, *known} and not passed_on:
            text = f"no step writes the ensemble output '{name}'"
            yield model.finding(
                f"output[{index}].name", text, _suggest(name, list(ensemble.writers))
            )


def _missing(ensemble: Ensemble) -> list[str]:
    sources = {*ensemble.inputs, *ensemble.writers}
    return [name for name in [*ensemble.readers, *ensemble.outputs] if name not in sources]


def _suggest(name: str, known: list[str]) -> str:
    near = close_matches(name, known, 1, 0.6)
    return f"did you mean '{near[0]}'?" if near else "add it to the output_map of a step"


@rule("ensemble-twice", "Tensor that is written twice", Effect.REFUSED)
def ensemble_twice(model: Model) -> Iterator[ModelFinding]:
    """Only one step may write a tensor of the ensemble."""
    if (ensemble := graph(model)) is None:
        return
    first: dict[str, str] = {}
    for step in ensemble.steps:
        for key, tensor in sorted(step.config.output_map.items()):
            here = f"output '{key}' of step {step.index}"
            if tensor in first:
                yield model.finding(
                    f"{step.output_path(key)}.value",
                    f"'{tensor}' is already written by {first[tensor]}",
                    "give this output another name",
                )
            first.setdefault(tensor, here)


@rule("ensemble-overwrite", "Step that writes an ensemble input", Effect.RISK)
def ensemble_overwrite(model: Model) -> Iterator[ModelFinding]:
    """A step's output has the same name as an ensemble input.

    The server accepts it. Whether a reader gets the tensor of the request or of the step depends on
    timing.
    """
    if (ensemble := graph(model)) is None:
        return
    for step in ensemble.steps:
        for key, tensor in sorted(step.config.output_map.items()):
            if tensor in ensemble.inputs:
                text = f"this overwrites the ensemble input '{tensor}'"
                yield model.finding(f"{step.output_path(key)}.value", text, "choose another name")


@rule("ensemble-cycle", "Steps that wait for each other", Effect.REFUSED)
def ensemble_cycle(model: Model) -> Iterator[ModelFinding]:
    """A step never starts if its inputs depend, directly or through other steps, on its outputs."""
    # a missing tensor also keeps steps waiting, and is reported as itself
    if (ensemble := graph(model)) is None or _missing(ensemble):
        return
    stuck = [
        step for step in ensemble.steps if not set(step.config.input_map.values()) <= ensemble.ready
    ]
    if stuck:
        names = ", ".join(f"{step.index} ({step.config.model_name})" for step in stuck)
        yield model.finding(
            stuck[0].path,
            f"steps {names} wait for each other's outputs",
            "connect an input of one of them to an ensemble input or an earlier step",
        )


RULES = (
    ensemble_config, ensemble_model, ensemble_unused, ensemble_undefined, ensemble_twice,
    ensemble_overwrite, ensemble_cycle,
)  # fmt: skip
