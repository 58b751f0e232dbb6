"""Batch size, dynamic batching and its queues, response cache, ragged and batch inputs."""

from collections.abc import Iterator

from toolkit.model_config import (
    TYPE_FP32,
    TYPE_INT32,
    BatchInput,
    BatchOutput,
    ModelDynamicBatching,
    ModelQueuePolicy,
)
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule


@rule("max-batch-size", "Negative batch size", Effect.REFUSED)
def max_batch_size(model: Model) -> Iterator[Hit]:
    """`max_batch_size` is 0 for a model without a batch dimension, else the largest batch."""
    if model.config.max_batch_size < 0:
        yield model.hit("max_batch_size", "max_batch_size is negative", "write 0, or a batch size")


@rule("preferred-batch-size", "Preferred batch larger than the largest", Effect.REFUSED)
def preferred_batch_size(model: Model) -> Iterator[Hit]:
    """Each `preferred_batch_size` lies between 1 and `max_batch_size`.

    With `max_batch_size` 0 there is none that fits.
    """
    limit = model.config.max_batch_size
    oldest = model.config.sequence_batching.oldest
    for path, sizes in (
        ("dynamic_batching", model.config.dynamic_batching.preferred_batch_size),
        ("sequence_batching.oldest", oldest.preferred_batch_size),
    ):
        for index, size in enumerate(sizes):
            if not 1 <= size <= limit:
                yield model.hit(
                    f"{path}.preferred_batch_size[{index}]",
                    f"preferred_batch_size {size} does not lie in 1 … {limit} (max_batch_size)",
                    f"raise max_batch_size to {size}, or prefer a smaller batch"
                    if size > 0
                    else "write a positive size",
                )


@rule("batching-unbatched", "Dynamic batching of a model without batches", Effect.IGNORED)
def batching_unbatched(model: Model) -> Iterator[Hit]:
    """`dynamic_batching` needs `max_batch_size` of at least 1 to join requests.

    With 0 the server loads the model and never batches. Backends that complete their own config
    (ONNX Runtime, TensorRT, TensorFlow) may raise a `max_batch_size` that is not written.
    """
    config = model.config
    if not config.HasField("dynamic_batching") or config.max_batch_size != 0:
        return
    if not config.input or not config.output:
        return  # may be completed
    yield model.hit(
        "dynamic_batching",
        "dynamic_batching with max_batch_size 0 never joins requests",
        "write max_batch_size above 0 and dims without the batch, or remove dynamic_batching",
    )


@rule("priority", "Priorities and order that contradict each other", Effect.REFUSED)
def priority(model: Model) -> Iterator[Hit]:
    """Priority levels count from 1, need a default, and do not go with `preserve_ordering`."""
    batching = model.config.dynamic_batching
    path = "dynamic_batching."
    levels = batching.priority_levels
    if levels and not 1 <= batching.default_priority_level <= levels:
        yield model.hit(
            f"{path}default_priority_level",
            f"default_priority_level {batching.default_priority_level} is not in 1 … {levels}",
            f"write default_priority_level: {(levels + 1) // 2}",
        )
    for level in sorted(batching.priority_queue_policy) if levels else []:
        if not 1 <= level <= levels:
            yield model.hit(
                f'{path}priority_queue_policy["{level}"].key',
                f"there is no priority level {level}, only 1 … {levels}",
                "use one of the levels, or raise priority_levels",
            )
    if batching.preserve_ordering:
        yield from _ordering(model, batching)


def _ordering(model: Model, batching: ModelDynamicBatching) -> Iterator[Hit]:
    path = "dynamic_batching."
    if batching.priority_levels > 1:
        yield model.hit(
            f"{path}preserve_ordering",
            "preserve_ordering allows a single priority level",
            "remove priority_levels, or preserve_ordering",
        )
    policies = {f"{path}default_queue_policy": batching.default_queue_policy}
    policies |= {
        f'{path}priority_queue_policy["{level}"].value': policy
        for level, policy in batching.priority_queue_policy.items()
    }
    for where, policy in policies.items():
        delays = policy.timeout_action == ModelQueuePolicy.DELAY
        if delays and policy.default_timeout_microseconds:
            yield model.hit(
                f"{where}.timeout_action",
                "timeout_action DELAY does not go with preserve_ordering",
                "write timeout_action: REJECT",
            )


@rule("cache", "Response cache where there can be none", Effect.REFUSED)
def cache(model: Model) -> Iterator[Hit]:
    """The response cache holds one answer for one request.

    So it does not go with decoupled models, nor with sequence batching.
    """
    config = model.config
    if not config.response_cache.enable:
        return
    if config.model_transaction_policy.decoupled:
        yield model.hit(
            "response_cache.enable",
            "the response cache does not go with a decoupled model",
            "remove response_cache",
        )
    if config.HasField("sequence_batching"):
        yield model.hit(
            "response_cache.enable",
            "the response cache does not go with sequence batching",
            "remove response_cache",
        )


@rule("ragged", "Ragged input that is never joined", Effect.IGNORED)
def ragged(model: Model) -> Iterator[Hit]:
    """`allow_ragged_batch` lets requests of different shapes into one batch.

    It means nothing without `max_batch_size` above 0.
    """
    for index, tensor in enumerate(model.config.input):
        if tensor.allow_ragged_batch and model.config.max_batch_size == 0 and not model.is_ensemble:
            yield model.hit(
                f"input[{index}].allow_ragged_batch",
                f"input '{tensor.name}' may be ragged, but max_batch_size 0 allows no batch",
                "write max_batch_size above 0, or remove the line",
            )


@rule("batch-io", "Batch input or output that fits nothing", Effect.REFUSED)
def batch_io(model: Model) -> Iterator[Hit]:
    """`batch_input` and `batch_output` name one declared input as their source.

    A batch input is FP32 or INT32; a batch output's targets are declared outputs.
    """
    config = model.config
    inputs, outputs = {i.name for i in config.input}, {o.name for o in config.output}
    for index, each in enumerate(config.batch_input):
        path = f"batch_input[{index}]"
        yield from _source(model, path, each, inputs)
        if each.data_type not in (TYPE_INT32, TYPE_FP32):
            text = "a batch input is TYPE_INT32 or TYPE_FP32"
            yield model.hit(f"{path}.data_type", text, "write one of the two")
    for index, out in enumerate(config.batch_output):
        path = f"batch_output[{index}]"
        yield from _source(model, path, out, inputs)
        for position, name in enumerate(out.target_name):
            if name not in outputs or name in out.target_name[:position]:
                text = f"'{name}' is no output of this model, or stands twice"
                yield model.hit(f"{path}.target_name[{position}]", text, "name a declared output")


def _source(
    model: Model, path: str, each: BatchInput | BatchOutput, inputs: set[str]
) -> Iterator[Hit]:
    if len(each.source_input) != 1:
        text = f"one source_input is needed, here are {len(each.source_input)}"
        yield model.hit(f"{path}.source_input", text, 'write source_input: [ "…" ]')
    for index, name in enumerate(each.source_input):
        if name not in inputs:
            text = f"'{name}' is no input of this model"
            yield model.hit(f"{path}.source_input[{index}]", text, "name a declared input")


RULES = (
    max_batch_size, preferred_batch_size, batching_unbatched, priority, cache, ragged, batch_io,
)  # fmt: skip
