"""The tensors between an ensemble and its steps: names, types, shapes, batches."""

from collections.abc import Iterator, Sequence

from toolkit.model_config import DataType, ModelConfig
from toolkit.names import close_matches
from toolkit.verifier.ensemble import Ensemble, Step, Use
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule
from toolkit.verifier.rules.ensembles import graph


@rule("ensemble-map", "Map that does not match the step's model", Effect.REFUSED)
def ensemble_map(model: Model) -> Iterator[ModelFinding]:
    """The key of a map is a tensor of the step's model, the value a tensor of the ensemble.

    Each input that is not optional must be mapped.
    """
    ensemble = graph(model)
    for step in ensemble.steps if ensemble else ():
        if step.known and step.model is not None:
            yield from _keys(model, step, step.model.config)


def _keys(model: Model, step: Step, used: ModelConfig) -> Iterator[ModelFinding]:
    name = step.config.model_name
    swapped_names: set[str] = set()
    for kind, mapping, path in (
        ("input", step.config.input_map, step.input_path),
        ("output", step.config.output_map, step.output_path),
    ):
        known = [each.name for each in getattr(used, kind)]
        for key in sorted(set(mapping) - set(known)):
            # `input_map { key: ENSEMBLE value: STEP }` is the usual mistake
            swapped = mapping[key] in known
            swapped_names |= {mapping[key]} if swapped else set()
            near = close_matches(key, known, 1, 0.5)
            yield model.finding(
                f"{path(key)}.key",
                f"'{name}' has no {kind} '{key}'; it has {', '.join(known)}"
                + ("; key and value are swapped" if swapped else ""),
                f'write key: "{mapping[key]}" value: "{key}"'
                if swapped
                else f"did you mean '{near[0]}'?"
                if near
                else f"use one of {', '.join(known)}",
            )
    for each in used.input:
        mapped = {*step.config.input_map, *swapped_names}
        if each.name not in mapped and not each.optional:
            yield model.finding(
                step.path,
                f"input '{each.name}' of '{name}' is not mapped",
                f'add input_map {{ key: "{each.name}" value: "…" }}',
            )


@rule("ensemble-type", "Types that differ", Effect.REFUSED)
def ensemble_type(model: Model) -> Iterator[ModelFinding]:
    """Both ends of a tensor must have the same type; Triton does not convert INT32 to INT64."""
    for first, other in _pairs(model):
        if first.data_type != other.data_type:
            one, two = DataType.Name(first.data_type), DataType.Name(other.data_type)
            yield model.finding(
                other.path,
                f"'{other.tensor}' is {one} as {first.owner} but {two} as {other.owner}",
                f"declare the same type at both ends, or add a step that casts {one} to {two}",
            )


@rule("ensemble-shape", "Shapes that differ", Effect.REFUSED)
def ensemble_shape(model: Model) -> Iterator[ModelFinding]:
    """Both ends of a tensor must have the same number of dims, and each pair must be equal or -1.

    They are compared without the batch dimension and, if that fails, with it.
    """
    for first, other in _pairs(model):
        same = first.data_type == other.data_type
        # other types are `ensemble-type`'s
        if same and not _meet(first.dims, other.dims) and not _meet(first.full, other.full):
            one, two = list(first.full), list(other.full)
            # one end has the batch in its dims: the usual mistake
            deep = other.batch > 0 and _meet(first.dims, other.full)
            deep = deep or (first.batch > 0 and _meet(other.dims, first.full))
            yield model.finding(
                other.path,
                f"'{other.tensor}' is {one} as {first.owner} but {two} as {other.owner}",
                "write dims without the batch dimension if max_batch_size is above 0"
                if deep
                else "declare the same dims at both ends, with -1 for variable sizes",
            )


def _pairs(model: Model) -> Iterator[tuple[Use, Use]]:
    """Each end of a tensor with the first one, because the server compares all with the first."""
    first: dict[str, Use] = {}
    for use in Ensemble(model).uses() if graph(model) else ():
        if use.tensor not in first:
            first[use.tensor] = use
        elif first[use.tensor].path != use.path:
            yield first[use.tensor], use


def _meet(one: Sequence[int], two: Sequence[int]) -> bool:
    pairs = zip(one, two, strict=False)
    return len(one) == len(two) and all(a == b or -1 in (a, b) for a, b in pairs)


@rule("ensemble-batch", "Step with smaller batches than the ensemble", Effect.REFUSED)
def ensemble_batch(model: Model) -> Iterator[ModelFinding]:
    """The `max_batch_size` of a step must be 0 or at least that of the ensemble."""
    limit = model.config.max_batch_size
    ensemble = graph(model)
    for step in ensemble.steps if ensemble else ():
        if step.model is None or not step.known:
            continue
        theirs = step.model.config.max_batch_size
        if 0 < theirs < limit:
            yield model.finding(
                "max_batch_size",
                f"batches may have {limit} rows here, but {theirs} in the step '{step.model.name}'",
                f"write max_batch_size: {theirs} here, or raise it in {step.model.name}",
            )


@rule("ensemble-batch-mix", "Step that does not accept batches", Effect.FAILS)
def ensemble_batch_mix(model: Model) -> Iterator[ModelFinding]:
    """An ensemble with batches has a step without batches whose dims do not include the batch.

    The ensemble loads, and requests with one row may work. With two rows the step gets [2, …] and
    refuses it. The step needs a first dimension of -1 to accept batches.
    """
    if model.config.max_batch_size <= 1:
        return
    reported: set[str] = set()
    for first, other in _pairs(model):
        ends = sorted((first, other), key=lambda use: use.batch)
        plain, batched = ends[0], ends[1]
        if plain.batch != 0 or batched.batch <= 1 or plain.owner in reported:
            continue
        # a first dim of -1 takes the batch, whatever the step calls it
        roomy = _meet(plain.full, batched.full) and plain.dims[:1] == (-1,)
        if roomy or not _meet_somehow(first, other):
            continue
        reported.add(plain.owner)
        yield model.finding(
            plain.path,
            f"'{plain.tensor}' has batches of up to {model.config.max_batch_size}, but "
            f"{plain.owner} has dims {list(plain.dims)} and max_batch_size 0",
            "set max_batch_size in the step, or start its dims with -1 for the batch",
            "{target} loads the ensemble; requests with more than one row fail",
        )


def _meet_somehow(first: Use, other: Use) -> bool:
    return first.data_type == other.data_type and (
        _meet(first.dims, other.dims) or _meet(first.full, other.full)
    )


@rule("ensemble-optional", "Optional input that a step needs", Effect.FAILS)
def ensemble_optional(model: Model) -> Iterator[ModelFinding]:
    """An optional ensemble input is mapped to a required input of a step."""
    ensemble = graph(model)
    optional = {each.name for each in model.config.input if each.optional}
    for step in ensemble.steps if ensemble else ():
        if not step.known or step.model is None:
            continue
        needed = {each.name for each in step.model.config.input if not each.optional}
        for key, tensor in sorted(step.config.input_map.items()):
            if tensor in optional and key in needed:
                yield model.finding(
                    f"{step.input_path(key)}.value",
                    f"'{tensor}' is optional, but input '{key}' of '{step.model.name}' is required",
                    f"write optional: true for that input, or make '{tensor}' required",
                    "{target} loads the ensemble; requests without this input fail",
                )


RULES = (
    ensemble_map, ensemble_type, ensemble_shape, ensemble_batch, ensemble_batch_mix,
    ensemble_optional,
)  # fmt: skip
