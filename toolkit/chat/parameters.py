"""The request parameters of `/set` and `--set`, with types and bounds. Pure."""

import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.chat.paths import expand
from toolkit.errors import ToolkitError, UsageError
from toolkit.names import nearest

DEFAULT = "default"
"""The value that removes a parameter, so that the model's own default holds."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """`read` turns the text behind its name into the value of the request."""

    about: str
    read: Callable[[str], Any]


def _number(low: float, high: float | None = None) -> Callable[[str], float]:
    return lambda text: _bounded(float(text), low, high)


def _whole(low: int, high: int | None = None) -> Callable[[str], int]:
    return lambda text: _bounded(int(text), low, high)


def _bounded(value: Any, low: float, high: float | None) -> Any:
    # infinity is not valid JSON
    if not value >= low or value > (sys.float_info.max if high is None else high):
        raise ValueError(f"must be {low:g} or more" if high is None else f"{low:g} to {high:g}")
    return value


def _texts(text: str) -> list[str]:
    # `unicode_escape` reads Latin-1, and would take the bytes of é for two characters
    escaped = [word.encode("latin-1", "backslashreplace") for word in shlex.split(text)]
    words = [word.decode("unicode_escape") for word in escaped]
    if not words:
        raise ValueError("one or more texts, in quotes if they contain spaces")
    return words


def _think(text: str) -> str | bool:
    known: dict[str, str | bool] = {"true": True, "false": False, "on": True, "off": False}
    known |= {level: level for level in ("low", "medium", "high")}
    if text not in known:
        raise ValueError("true, false, low, medium or high")
    return known[text]


def _format(text: str) -> dict[str, Any]:
    if text == "json":
        return {"type": "json_object"}
    path = expand(text)
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"`json`, or a file with a JSON Schema ({error})") from error
    named = {"name": path.stem[:64] or "answer", "schema": schema}
    return {"type": "json_schema", "json_schema": named}


PARAMETERS = {
    "temperature": Parameter("0 is the most likely text; higher is more varied", _number(0, 2)),
    "top_p": Parameter(
        "sample from the most likely tokens whose probabilities add up to this", _number(0, 1)
    ),
    "top_k": Parameter("the number of most likely tokens; -1 is all", _whole(-1)),
    "min_p": Parameter(
        "exclude tokens below this fraction of the most likely token's probability", _number(0, 1)
    ),
    "seed": Parameter("the same seed gives the same answer", _whole(-(2**63), 2**63 - 1)),
    "max_tokens": Parameter("the maximum number of tokens of an answer", _whole(1)),
    "stop": Parameter('texts that end an answer, as in /set stop "\\n" END', _texts),
    "presence_penalty": Parameter(
        "lowers the probability of tokens that the answer already contains", _number(-2, 2)
    ),
    "frequency_penalty": Parameter(
        "lowers the probability of tokens by how often the answer contains them", _number(-2, 2)
    ),
    "repetition_penalty": Parameter(
        "lowers the probability of tokens of the prompt and the answer; 1: off", _number(0.01)
    ),
    "think": Parameter("whether the model reasons first: true, false, low, medium, high", _think),
    "format": Parameter("`json`, or a file with the JSON Schema of the answer", _format),
}


def _size(text: str) -> str:
    if not (match := re.fullmatch(r"([1-9]\d{0,4})\s*[x×]\s*([1-9]\d{0,4})", text)):
        raise ValueError("WIDTHxHEIGHT in pixels")
    return f"{int(match[1])}x{int(match[2])}"


IMAGE_PARAMETERS = {
    "size": Parameter("WIDTHxHEIGHT in pixels, such as 512x512", _size),
    "steps": Parameter("denoising steps; more take longer", _whole(1)),
    "seed": Parameter("the same seed gives the same image", _whole(0, 2**63 - 1)),
    "guidance": Parameter("how closely the image follows the prompt", _number(0)),
    "negative_prompt": Parameter("what the image must not show", str),
}
_ALSO = {"num_predict": "max_tokens", "repeat_penalty": "repetition_penalty"}
_ELSEWHERE = {"num_ctx": "the context is set when the model is built: `context_length`"}


def read_parameter(
    name: str, text: str, known: Mapping[str, Parameter] = PARAMETERS
) -> tuple[str, Any]:
    """The request's field and its value, None for `default`. Raises UsageError if the name or the
    value is not valid."""
    name = _ALSO.get(name, name)
    if name not in known:
        hint = _ELSEWHERE.get(name) or nearest(name, known)
        raise UsageError(f"there is no parameter '{name}'", hint=hint)
    text = text.strip()
    if text == DEFAULT:
        return name, None
    try:
        return name, known[name].read(text)
    except ToolkitError:
        raise
    except ValueError as error:
        about = known[name].about
        reason = "" if "convert" in str(error) or "literal" in str(error) else f"{error}; "
        raise UsageError(f"'{text}' is not a valid {name}", hint=f"{reason}{about}") from error


def request_fields(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters as the fields of a chat request."""
    fields = {name: value for name, value in parameters.items() if name not in ("think", "format")}
    think = parameters.get("think")
    if think is not None:
        if isinstance(think, str):
            fields["reasoning_effort"] = think
        else:
            fields["chat_template_kwargs"] = {"enable_thinking": think}
    if "format" in parameters:
        fields["response_format"] = parameters["format"]
    return fields
