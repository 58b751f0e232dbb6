"""Writes warm-up requests, which each instance answers before its model is ready.

The server makes zeros and random numbers itself; a text needs a file below `<model>/warmup/`. Its
name is the digest of its content, so config and file are made from the same text.
"""

import hashlib
import struct

from toolkit.fields.serving import WarmUpInput
from toolkit.kinds.parts import Model, Running
from toolkit.model_config import ModelConfig, ModelInput, ModelWarmup

_STRING = 13  # TYPE_STRING
_UNKNOWN_LENGTH = 16
"""Tokens, or whatever else an open dimension of the toolkit's own steps counts."""


def warmup_file(text: str) -> tuple[str, bytes]:
    """Name and bytes of the file that holds one element of a STRING tensor."""
    data = text.encode()
    # Triton's serialization of BYTES: the length in 4 bytes before each element
    content = struct.pack("<I", len(data)) + data
    return hashlib.sha256(content).hexdigest()[:16], content


def warmup_files(model: Model) -> dict[str, bytes]:
    """The files that a model's warm-up requests read: name → content."""
    values = [value for each in model.running.warmup for value in each.inputs.values()]
    return dict(warmup_file(value.text) for value in values if value.text is not None)


def add_warmups(config: ModelConfig, running: Running) -> None:
    """Writes the requests; tensors that they do not name are zeros, optional ones left out."""
    for number, request in enumerate(running.warmup):
        sample = ModelWarmup(name=f"request-{number}", count=request.count)
        if config.max_batch_size:
            sample.batch_size = min(request.batch, config.max_batch_size)
        elif request.batch > 1:
            sample.batch_size = 1
        for tensor in config.input:
            given = request.inputs.get(tensor.name)
            if given is None and tensor.optional:
                continue
            _add(sample, tensor, given or WarmUpInput())
        config.model_warmup.append(sample)


def _add(sample: ModelWarmup, tensor: ModelInput, given: WarmUpInput) -> None:
    dims = given.dims or [_UNKNOWN_LENGTH if size < 0 else size for size in tensor.dims]
    written = sample.inputs[tensor.name]
    written.data_type = tensor.data_type
    written.dims.extend(dims)
    if given.text is not None:
        written.input_data_file = warmup_file(given.text)[0]
    # random bytes are not text
    elif given.data == "random" and tensor.data_type != _STRING:
        written.random_data = True
    else:
        written.zero_data = True
