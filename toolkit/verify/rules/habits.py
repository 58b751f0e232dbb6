"""What loads and is most likely a mistake all the same."""

import re
from collections.abc import Iterator

from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule
from toolkit.verify.rules.tensors import tensors

_NAME = re.compile(r"[\w.+@:=-]+")


@rule("batch-in-dims", "Batch dimension written into dims", Effect.RISK)
def batch_in_dims(model: Model) -> Iterator[Hit]:
    """With `max_batch_size` above 0 the server puts the batch in front of `dims` by itself.

    Reported where every tensor of at least two dims begins with -1 and has fixed dims behind, as
    [ -1, 3, 224, 224 ]: then requests of that shape are refused, they need one dimension more.
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
    for path, tensor in suspects if len(suspects) == everything else images:
        shape = [-1, *tensor.dims]
        yield model.hit(
            f"{path}.dims",
            f"max_batch_size is {config.max_batch_size}, so '{tensor.name}' has the shape {shape}",
            f"write dims: {list(tensor.dims)[1:]} if the first one is meant to be the batch",
            "{target} loads the model and refuses requests without one more dimension in front",
        )


@rule("model-name", "Name that does not fit into a URL", Effect.RISK, parsed=False)
def model_name(model: Model) -> Iterator[Hit]:
    """The model's name is part of HTTP paths such as `/v2/models/NAME/infer`."""
    if not _NAME.fullmatch(model.name):
        text = f"the model's name '{model.name}' needs escaping in every URL"
        yield model.hit_file(model.folder, text, "use letters, digits, '_', '-' and '.'")


RULES = (batch_in_dims, model_name)
