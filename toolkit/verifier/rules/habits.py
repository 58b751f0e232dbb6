"""Settings that load but are most likely a mistake."""

import re
from collections.abc import Iterator

from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule
from toolkit.verifier.rules.tensors import tensors

_NAME = re.compile(r"[\w.+@:=-]+")


@rule("batch-in-dims", "Batch dimension included in dims", Effect.RISK)
def batch_in_dims(model: Model) -> Iterator[ModelFinding]:
    """If `max_batch_size` is above 0, the server adds the batch dimension to `dims`.

    Reported if every tensor with at least two dims starts with -1 followed by fixed dims, as in
    [ -1, 3, 224, 224 ]. The server then refuses requests of that shape, because it expects one more
    dimension.
    """
    config = model.config
    if config.max_batch_size <= 0 or model.is_ensemble or not (config.input and config.output):
        return
    suspects = [
        (path, tensor)
        for path, tensor in tensors(model)
        if len(tensor.dims) >= 2 and tensor.dims[0] == -1 and min(tensor.dims[1:]) > 0
    ]
    everything = len(config.input) + len(config.output)
    images = [each for each in suspects if len(each[1].dims) >= 4]
    # one [-1, n] tensor may be meant; all of them, or an image's four dims, rarely are
    for path, tensor in suspects if len(suspects) == everything else images:
        shape = [-1, *tensor.dims]
        yield model.finding(
            f"{path}.dims",
            f"max_batch_size is {config.max_batch_size}, so '{tensor.name}' has the shape {shape}",
            f"write dims: {list(tensor.dims)[1:]} if the first dimension is the batch",
            "{target} loads the model and refuses requests without an additional first dimension",
        )


@rule("model-name", "Name that needs escaping in URLs", Effect.RISK, parsed=False)
def model_name(model: Model) -> Iterator[ModelFinding]:
    """The model's name is part of HTTP paths such as `/v2/models/NAME/infer`."""
    if not _NAME.fullmatch(model.name):
        text = f"the model name '{model.name}' must be escaped in URLs"
        yield model.file_finding(model.folder, text, "use letters, digits, '_', '-' and '.'")


RULES = (batch_in_dims, model_name)
