"""Warm-up requests, which run before the model counts as ready."""

from collections.abc import Iterator

from toolkit.model_config import DataType, ModelInput, ModelWarmup
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule


@rule("warmup", "Invalid warm-up request", Effect.REFUSED)
def warmup(model: Model) -> Iterator[ModelFinding]:
    """A warm-up sample is a request: it needs every required input with its type and shape.

    Its dims do not include the batch dimension and must not be -1. `batch_size` must not exceed
    `max_batch_size`. The data is zero, random, or a file in the model's `warmup` folder. If a
    sample fails, the model does not load.
    """
    declared = {each.name: each for each in model.config.input}
    # `ensemble-config` reports it for ensembles; undeclared inputs are unknown
    if model.is_ensemble or not declared:
        return
    for index, sample in enumerate(model.config.model_warmup):
        path = f"model_warmup[{index}]"
        # 1 is the default of the field, and valid without a batch dimension
        limit = max(1, model.config.max_batch_size)
        if sample.batch_size > limit:
            yield model.finding(
                f"{path}.batch_size",
                f"warm-up batch_size {sample.batch_size} exceeds the limit of {limit}",
                f"write batch_size: {limit}",
            )
        for name, each in declared.items():
            if name not in sample.inputs and not each.optional:
                text = f"the warm-up request does not set the input '{name}'"
                yield model.finding(path, text, f'add inputs {{ key: "{name}" value {{ … }} }}')
        for name in sample.inputs:
            yield from _input(model, f'{path}.inputs["{name}"]', name, sample, declared.get(name))


def _input(
    model: Model, path: str, name: str, sample: ModelWarmup, declared: ModelInput | None
) -> Iterator[ModelFinding]:
    given = sample.inputs[name]
    if declared is None:
        yield model.finding(f"{path}.key", f"'{name}' is not an input of this model", "remove it")
        return
    if given.data_type != declared.data_type:
        expected = DataType.Name(declared.data_type)
        text = f"'{name}' is {expected}, but the warm-up sends {DataType.Name(given.data_type)}"
        yield model.finding(f"{path}.value.data_type", text, f"write data_type: {expected}")
    if any(dim < 0 for dim in given.dims):
        text = f"the warm-up does not set all dimensions of '{name}'"
        yield model.finding(f"{path}.value.dims", text, "write the sizes to send instead of -1")
    elif not _fits(list(given.dims), list(declared.dims)):
        yield model.finding(
            f"{path}.value.dims",
            f"dims {list(given.dims)} do not match {list(declared.dims)} of input '{name}'",
            "write the dims of one request, without the batch dimension",
        )
    kind = given.WhichOneof("input_data_type")
    if kind is None:
        text = f"the warm-up does not set any data for '{name}'"
        yield model.finding(f"{path}.value", text, "write zero_data: true or random_data: true")
    file = model.folder / "warmup" / given.input_data_file
    if kind == "input_data_file" and not file.is_file():
        text = f"the file {model.name}/warmup/{given.input_data_file} does not exist"
        yield model.finding(f"{path}.value.input_data_file", text, "add it, or use zero_data")


def _fits(given: list[int], declared: list[int]) -> bool:
    pairs = zip(given, declared, strict=False)
    return len(given) == len(declared) and all(d in (g, -1) for g, d in pairs)


RULES = (warmup,)
