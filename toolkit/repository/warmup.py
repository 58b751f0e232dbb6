"""Warm-up requests: what each instance answers before its model counts as ready.

Zeros and random numbers are the server's business; text needs a file below `<model>/warmup/`, whose
name is made of its content, so config and file are found from the same words.
"""

import hashlib
import struct
from collections.abc import Sequence

from toolkit.model_config import ModelConfig, ModelInput, ModelWarmup
from toolkit.repository.running import Running
from toolkit.spec import EnsembleEntry, Entry
from toolkit.spec.serving import WarmUp, WarmUpInput

_STRING = 13  # TYPE_STRING
_UNKNOWN_LENGTH = 16
"""Tokens, or whatever else an open dimension of the toolkit's own steps counts."""


def warmup_file(text: str) -> tuple[str, bytes]:
    """Name and bytes of the file that holds one element of a STRING tensor."""
    data = text.encode()
    content = struct.pack("<I", len(data)) + data
    return hashlib.sha256(content).hexdigest()[:16], content


PROMPT_TEXT = '{"text": "warm-up"}'
SAMPLING_TEXT = '{"max_tokens": 1, "temperature": 0}'
"""One token is enough to run every kernel once."""


def warmup_texts(entry: Entry) -> list[str]:
    """Every text that a warm-up request of an entry's models may hold."""
    given = () if isinstance(entry, EnsembleEntry) else entry.warmup
    texts = [each.text for request in given for each in request.inputs.values()]
    return [PROMPT_TEXT, SAMPLING_TEXT, *(text for text in texts if text is not None)]


def warmup_files(config: ModelConfig, texts: Sequence[str]) -> dict[str, bytes]:
    """The files that a config's warm-up requests name, of those that hold these texts."""
    wanted = {
        value.input_data_file
        for sample in config.model_warmup
        for value in sample.inputs.values()
        if value.WhichOneof("input_data_type") == "input_data_file"
    }
    files = dict(warmup_file(text) for text in texts)
    return {name: content for name, content in files.items() if name in wanted}


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
    elif given.data == "random" and tensor.data_type != _STRING:
        written.random_data = True
    else:
        written.zero_data = True


def with_text(requests: tuple[WarmUp, ...], **texts: str) -> tuple[WarmUp, ...]:
    """The same requests with these texts in them, for kinds whose tensors the toolkit knows."""
    values = {name: WarmUpInput(text=text) for name, text in texts.items()}
    return tuple(request.model_copy(update={"inputs": values}) for request in requests)
