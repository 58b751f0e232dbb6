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
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule


@rule("max-batch-size", "Negative batch size", Effect.REFUSED)
def max_batch_size(model: Model) -> Iterator[ModelFinding]:
    """`max_batch_size` is the largest batch; 0 means that the model has no batch dimension."""
    if model.config.max_batch_size < 0:
        yield model.finding(
            "max_batch_size", "max_batch_size is negative", "write 0 or a batch size"
        )


@rule("preferred-batch-size", "Preferred batch size out of range", Effect.REFUSED)
def preferred_batch_size(model: Model) -> Iterator[ModelFinding]:
    """Each `preferred_batch_size` must be between 1 and `max_batch_size`.

    With `max_batch_size` 0, no value is valid.
    """
    limit = model.config.max_batch_size
    oldest = model.config.sequence_batching.oldest
    for path, sizes in (
        ("dynamic_batching", model.config.dynamic_batching.preferred_batch_size),
        ("sequence_batching.oldest", oldest.preferred_batch_size),
    ):
        for index, size in enumerate(sizes):
            if not 1 <= size <= limit:
                yield model.finding(
                    f"{path}.preferred_batch_size[{index}]",
                    f"preferred_batch_size {size} is not between 1 and max_batch_size ({limit})",
                    f"raise max_batch_size to {size}, or lower preferred_batch_size"
                    if size > 0
                    else "write a positive number",
                )


@rule("batching-unbatched", "Dynamic batching without a batch dimension", Effect.IGNORED)
def batching_unbatched(model: Model) -> Iterator[ModelFinding]:
    """`dynamic_batching` needs a `max_batch_size` of at least 1.

    With 0 the server loads the model and never batches. Backends that complete the config (ONNX
    Runtime, TensorRT, TensorFlow) may raise a `max_batch_size` that is not set.
    """
    config = model.config
    if not config.HasField("dynamic_batching") or config.max_batch_size != 0:
        return
    if not config.input or not config.output:
        return  # the backend may complete the config
    yield model.finding(
        "dynamic_batching",
        "dynamic_batching has no effect with max_batch_size 0",
        "set max_batch_size above 0 and dims without the batch, or remove dynamic_batching",
    )


@rule("priority", "Contradictory priorities or ordering", Effect.REFUSED)
def priority(model: Model) -> Iterator[ModelFinding]:
    """Priority levels start at 1, need a default, and exclude `preserve_ordering`."""
    batching = model.config.dynamic_batching
    path = "dynamic_batching."
    levels, default = batching.priority_levels, batching.default_priority_level
    if levels and not 1 <= default <= levels:
        yield model.finding(
            f"{path}default_priority_level",
            f"default_priority_level {default} is not between 1 and {levels}",
            f"write default_priority_level: {(levels + 1) // 2}",
        )
    # without levels the server ignores the policies
    for level in sorted(batching.priority_queue_policy) if levels else []:
        if not 1 <= level <= levels:
            yield model.finding(
                f'{path}priority_queue_policy["{level}"].key',
                f"priority level {level} does not exist; priority_levels is {levels}",
                "use one of the levels, or raise priority_levels",
            )
    if batching.preserve_ordering:
        yield from _ordering(model, batching)


def _ordering(model: Model, batching: ModelDynamicBatching) -> Iterator[ModelFinding]:
    path = "dynamic_batching."
    if batching.priority_levels > 1:
        yield model.finding(
            f"{path}preserve_ordering",
            "preserve_ordering allows only one priority level",
            "remove priority_levels or preserve_ordering",
        )
    policies = {f"{path}default_queue_policy": batching.default_queue_policy}
    policies |= {
        f'{path}priority_queue_policy["{level}"].value': policy
        for level, policy in batching.priority_queue_policy.items()
    }
    for where, policy in policies.items():
        delays = policy.timeout_action == ModelQueuePolicy.DELAY
        if delays and policy.default_timeout_microseconds:
            yield model.finding(
                f"{where}.timeout_action",
                "timeout_action DELAY cannot be combined with preserve_ordering",
                "write timeout_action: REJECT",
            )


@rule("cache", "Response cache that the model cannot use", Effect.REFUSED)
def cache(model: Model) -> Iterator[ModelFinding]:
    """The response cache stores one response for each request.

    It cannot be combined with decoupled models or sequence batching.
    """
    config = model.config
    if not config.response_cache.enable:
        return
    if config.model_transaction_policy.decoupled:
        yield model.finding(
            "response_cache.enable",
            "the response cache cannot be combined with a decoupled model",
            "remove response_cache",
        )
    if config.HasField("sequence_batching"):
        yield model.finding(
            "response_cache.enable",
            "the response cache cannot be combined with sequence batching",
            "remove response_cache",
        )


@rule("ragged", "Ragged batches without a batch dimension", Effect.IGNORED)
def ragged(model: Model) -> Iterator[ModelFinding]:
    """`allow_ragged_batch` puts requests of different shapes into one batch.

    It has no effect unless `max_batch_size` is above 0.
    """
    for index, tensor in enumerate(model.config.input):
        if tensor.allow_ragged_batch and model.config.max_batch_size == 0 and not model.is_ensemble:
            yield model.finding(
                f"input[{index}].allow_ragged_batch",
                f"allow_ragged_batch of input '{tensor.name}' has no effect with max_batch_size 0",
                "set max_batch_size above 0, or remove the line",
            )


@rule("batch-io", "Batch input or output without a valid source", Effect.REFUSED)
def batch_io(model: Model) -> Iterator[ModelFinding]:
    """`batch_input` and `batch_output` must name one declared input as their source.

    The type of a batch input must be FP32 or INT32; the targets of a batch output must be declared
    outputs.
    """
    config = model.config
    inputs, outputs = {i.name for i in config.input}, {o.name for o in config.output}
    for index, each in enumerate(config.batch_input):
        path = f"batch_input[{index}]"
        yield from _source(model, path, each, inputs)
        if each.data_type not in (TYPE_INT32, TYPE_FP32):
            text = "a batch input must be TYPE_INT32 or TYPE_FP32"
            yield model.finding(f"{path}.data_type", text, "write one of these types")
    for index, out in enumerate(config.batch_output):
        path = f"batch_output[{index}]"
        yield from _source(model, path, out, inputs)
        for position, name in enumerate(out.target_name):
            if name not in outputs or name in out.target_name[:position]:
                text = f"'{name}' is not an output of this model, or appears twice"
                yield model.finding(
                    f"{path}.target_name[{position}]", text, "name a declared output"
                )


def _source(
    model: Model, path: str, each: BatchInput | BatchOutput, inputs: set[str]
) -> Iterator[ModelFinding]:
    if len(each.source_input) != 1:
        text = f"expected one source_input, got {len(each.source_input)}"
        yield model.finding(f"{path}.source_input", text, 'write source_input: [ "…" ]')
    for index, name in enumerate(each.source_input):
        if name not in inputs:
            text = f"'{name}' is not an input of this model"
            yield model.finding(f"{path}.source_input[{index}]", text, "name a declared input")


RULES = (
    max_batch_size, preferred_batch_size, batching_unbatched, priority, cache, ragged, batch_io,
)  # fmt: skip
