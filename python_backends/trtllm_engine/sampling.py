"""Converts the contract's sampling parameters to the tensors of NVIDIA's `llmapi` model. Pure.

A parameter that the model does not support is refused by name, unless its value has no effect.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from python_backends.errors import ContextOverflow, InvalidInput
from python_backends.triton import Array, texts

_TAKEN: dict[str, Any] = {
    "temperature": np.float32,
    "top_p": np.float32,
    "top_k": np.int32,
    "frequency_penalty": np.float32,
    "presence_penalty": np.float32,
    "seed": np.uint64,
}
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "min_tokens": (0,),
    "priority": (0,),
    "logit_bias": ({},),
    "stop_token_ids": ([],),
    "ignore_eos": (False,),
    "skip_special_tokens": (True,),
    "include_stop_str_in_output": (False,),
}
"""What else may be said: each with the values that change nothing."""


def sampling_tensors(sampling: Mapping[str, Any], room: int, context: int) -> dict[str, Array]:
    """Returns tensors by name; `room` is the number of tokens that the prompt leaves of `context`.

    Raises InvalidInput for unsupported parameters, ContextOverflow for a `max_tokens` beyond the
    context.
    """
    given = {name: value for name, value in sampling.items() if value is not None}
    tensors: dict[str, Array] = {}
    for name, value in given.items():
        if name == "stop":
            continue
        if (kind := {**_TAKEN, "max_tokens": np.int32}.get(name)) is not None:
            _check_number(name, value, kind)
            continue
        if value not in _NEUTRAL.get(name, ()):
            raise InvalidInput(f"the TensorRT-LLM engine does not support '{name}'", param=name)
    # without any of them TensorRT-LLM is greedy, where the contract's default is temperature 1
    chosen = {"temperature": 1.0, **given}
    # top_k 1 is greedy whatever the temperature is
    if chosen["temperature"] == 0:
        chosen |= {"temperature": 1.0, "top_k": 1}
    for name, kind in _TAKEN.items():
        # the contract's top_k of 0 or -1 means all tokens, which is what leaving it out means here
        if name in chosen and not (name == "top_k" and chosen[name] <= 0):
            tensors[f"sampling_param_{name}"] = np.array([chosen[name]], dtype=kind)
    most = int(given.get("max_tokens", room))
    if most > context:
        raise ContextOverflow(
            f"'max_tokens' is {most}, more than the model's context of {context}; request fewer",
            param="max_tokens",
            limit=context,
            prompt_tokens=context - room,
            requested_tokens=most,
        )
    tensors["sampling_param_max_tokens"] = np.array([min(most, room)], dtype=np.int32)
    if stops := _stops(given.get("stop", [])):
        tensors["sampling_param_stop"] = texts(stops)
    return tensors


def _check_number(name: str, value: Any, kind: Any) -> None:
    """Raises InvalidInput for a value outside the range of `kind`."""
    whole = np.issubdtype(kind, np.integer)
    limits: Any = np.iinfo(kind) if whole else np.finfo(kind)
    least, most = int(limits.min), int(limits.max)
    # JSON's true is an int in Python
    right = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN is never within; 5.0 is whole, as JSON has one type of number
    if not (right and least <= value <= most and (not whole or value == int(value))):
        what = f"a whole number from {least} to {most}" if whole else "a number"
        raise InvalidInput(f"'{name}' must be {what}", param=name)


def _stops(value: Any) -> list[bytes]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise InvalidInput("'stop' must be a string or a list of strings", param="stop")
    try:
        return [stop.encode() for stop in stops]
    except UnicodeEncodeError as error:
        raise InvalidInput(
            "'stop' contains half of a surrogate pair, which is not a character", param="stop"
        ) from error
