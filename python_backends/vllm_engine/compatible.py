"""Reads and writes the tensors of Triton's own vLLM backend.

Pure. Follows the backend's 25.x behaviour: without `exclude_input_in_output` an unstreamed reply
starts with its prompt, and the two together with streaming are an error.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from python_backends.errors import InvalidInput
from python_backends.triton import Array, Arrays, json_object, scalar, text, texts
from python_backends.vllm_engine.events import Completion, Output

_RETURNS = (
    "finish_reason",
    "cumulative_logprob",
    "logprobs",
    "num_input_tokens",
    "num_output_tokens",
)


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A request in Triton's terms."""

    prompt: str
    stream: bool
    echo: bool
    sampling: Mapping[str, Any]
    returns: tuple[str, ...]


def read_plain_request(arrays: Arrays, parameters: str) -> PlainRequest:
    """From tensors; sampling parameters may come as request parameters instead.

    Raises InvalidInput for tensors that contradict one another.
    """
    stream = bool(scalar(arrays, "stream"))
    excluded = scalar(arrays, "exclude_input_in_output")
    echo = not stream if excluded is None else not excluded
    if stream and echo:
        raise InvalidInput(
            "'exclude_input_in_output' is false and 'stream' is true; a stream never repeats its"
            " prompt",
            param="exclude_input_in_output",
        )
    sampling = json_object(arrays, "sampling_parameters")
    # as in Triton's backend, which reads request parameters where the tensor is missing
    if sampling is None:
        given = json.loads(parameters or "{}")
        # Triton's own parameters, such as triton_enable_empty_final_response, come the same way
        sampling = {key: given[key] for key in given if not key.startswith("triton_")}
    returns = tuple(name for name in _RETURNS if scalar(arrays, f"return_{name}"))
    prompt = text(arrays, "text_input") or ""
    return PlainRequest(prompt, stream, echo, _with_structure(sampling), returns)


def _with_structure(sampling: Mapping[str, Any]) -> Mapping[str, Any]:
    """Triton's backend expects structured output as JSON inside the JSON, under the name
    `guided_decoding` before release 25.11."""
    given = dict(sampling)
    for name in ("structured_outputs", "guided_decoding"):
        if (value := given.pop(name, None)) is None:
            continue
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except json.JSONDecodeError as error:
                raise InvalidInput(f"'{name}' is not valid JSON: {error}", param=name) from None
        if not isinstance(value, Mapping):
            raise InvalidInput(f"'{name}' must be a JSON object, or its text", param=name)
        given.setdefault("structured_outputs", value)
    return given


class Answer:
    """Collects an unstreamed reply, or passes a stream on, as tensors."""

    def __init__(self, plain: PlainRequest) -> None:
        self._plain = plain
        self._outputs: dict[int, _JoinedCompletion] = {}

    def write(self, output: Output) -> dict[str, Array] | None:
        """The tensors to send for a delta now; None while an unstreamed reply is collected."""
        if self._plain.stream:
            return self._tensors(output, [_JoinedCompletion(part) for part in output.outputs])
        for part in output.outputs:
            if part.index in self._outputs:
                self._outputs[part.index].add(part)
            else:
                self._outputs[part.index] = _JoinedCompletion(part)
        joined = [self._outputs[index] for index in sorted(self._outputs)]
        if any(part.finish_reason is None for part in joined):
            return None
        return self._tensors(output, joined)

    def _tensors(self, output: Output, parts: Sequence["_JoinedCompletion"]) -> dict[str, Array]:
        prefix = self._plain.prompt if self._plain.echo else ""
        tensors = {"text_output": texts([(prefix + part.text).encode() for part in parts])}
        builders: dict[str, Callable[[], Array]] = {
            # `str`: Triton's backend sends the text "None" while a stream continues
            "finish_reason": lambda: texts([str(part.finish_reason).encode() for part in parts]),
            "cumulative_logprob": lambda: np.array(
                [part.cumulative_logprob or 0.0 for part in parts], dtype=np.float32
            ),
            "logprobs": lambda: texts([part.logprobs_json() for part in parts]),
            "num_input_tokens": lambda: np.array(
                [len(output.prompt_token_ids or ())], dtype=np.uint32
            ),
            "num_output_tokens": lambda: np.array(
                [len(part.token_ids) for part in parts], dtype=np.uint32
            ),
        }
        return tensors | {name: builders[name]() for name in self._plain.returns}


class _JoinedCompletion:
    """The deltas of one completion, joined."""

    def __init__(self, first: Completion) -> None:
        self.text = first.text
        self.token_ids = list(first.token_ids)
        self.logprobs = None if first.logprobs is None else list(first.logprobs)
        self.finish_reason = first.finish_reason
        self.cumulative_logprob: float | None = getattr(first, "cumulative_logprob", None)

    def add(self, delta: Completion) -> None:
        self.text += delta.text
        self.token_ids += delta.token_ids
        if self.logprobs is not None and delta.logprobs is not None:
            self.logprobs += delta.logprobs
        self.finish_reason = delta.finish_reason
        self.cumulative_logprob = getattr(delta, "cumulative_logprob", None)

    def logprobs_json(self) -> bytes:
        """vLLM's shape: a list of {token id: {logprob, rank, decoded_token}}, or null."""
        if self.logprobs is None:
            return b"null"
        rows = [
            {
                str(number): {
                    "logprob": choice.logprob,
                    "rank": choice.rank,
                    "decoded_token": choice.decoded_token,
                }
                for number, choice in row.items()
            }
            for row in self.logprobs
        ]
        return json.dumps(rows).encode()
