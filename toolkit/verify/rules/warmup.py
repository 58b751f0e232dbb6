"""Warm-up requests, which run before the model counts as ready."""

from collections.abc import Iterator

from toolkit.model_config import DataType, ModelInput, ModelWarmup
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule


@rule("warmup", "Warm-up request that the model would not take", Effect.REFUSED)
def warmup(model: Model) -> Iterator[Hit]:
    """A warm-up sample is a request: it needs every required input, in its type and shape.

    Its dims are without the batch dimension, all of them known, its `batch_size` at most
    `max_batch_size`, its data zero, random, or a file in the model's `warmup` folder. A sample that
    fails makes the whole model fail.
    """
    declared = {each.name: each for each in model.config.input}
    if model.is_ensemble or not declared:
        return
    for index, sample in enumerate(model.config.model_warmup):
        path = f"model_warmup[{index}]"
        limit = max(1, model.config.max_batch_size)
        if sample.batch_size > limit:
            yield model.hit(
                f"{path}.batch_size",
                f"warm-up batch_size {sample.batch_size} is larger than {limit}",
                f"write batch_size: {limit}",
            )
        for name, each in declared.items():
            if name not in sample.inputs and not each.optional:
                text = f"the warm-up request lacks the input '{name}'"
                yield model.hit(path, text, f'add inputs {{ key: "{name}" value {{ … }} }}')
        for name in sample.inputs:
            yield from _input(model, f'{path}.inputs["{name}"]', name, sample, declared.get(name))


def _input(
    model: Model, path: str, name: str, sample: ModelWarmup, declared: ModelInput | None
) -> Iterator[Hit]:
    given = sample.inputs[name]
    if declared is None:
        yield model.hit(f"{path}.key", f"'{name}' is no input of this model", "remove it")
        return
    if given.data_type != declared.data_type:
        wanted = DataType.Name(declared.data_type)
        text = f"'{name}' is {wanted}, the warm-up sends {DataType.Name(given.data_type)}"
        yield model.hit(f"{path}.value.data_type", text, f"write data_type: {wanted}")
    if any(dim < 0 for dim in given.dims):
        text = f"the warm-up leaves a dimension of '{name}' open"
        yield model.hit(f"{path}.value.dims", text, "write the sizes to send")
    elif not _fits(list(given.dims), list(declared.dims)):
        yield model.hit(
            f"{path}.value.dims",
            f"dims {list(given.dims)} do not fit {list(declared.dims)} of input '{name}'",
            "write the dims of one request, without the batch dimension",
        )
    kind = given.WhichOneof("input_data_type")
    if kind is None:
        text = f"the warm-up says nothing of the data of '{name}'"
        yield model.hit(f"{path}.value", text, "write zero_data: true or random_data: true")
    file = model.folder / "warmup" / given.input_data_file
    if kind == "input_data_file" and not file.is_file():
        text = f"there is no file {model.name}/warmup/{given.input_data_file}"
        yield model.hit(f"{path}.value.input_data_file", text, "put it there, or use zero_data")


def _fits(given: list[int], declared: list[int]) -> bool:
    pairs = zip(given, declared, strict=False)
    return len(given) == len(declared) and all(d in (g, -1) for g, d in pairs)


RULES = (warmup,)
