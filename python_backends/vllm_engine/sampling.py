"""Checks a request's sampling parameters and converts them to vLLM's.

Names are vLLM's SamplingParams fields plus `priority`. Nothing is ignored: an unknown name is
refused with the closest known one, an invalid value with vLLM's own message.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from python_backends.errors import ContextOverflow, InvalidInput, StepError, clip, remedy

HIDDEN = frozenset(
    {
        "output_kind",  # decided by this step
        "detokenize",
        "flat_logprobs",
        "skip_clone",
        "output_text_buffer_length",
        "prompt_logprob_token_ids",  # their results have no place in an event
        "prompt_logprob_start",
        "routed_experts_prompt_start",
        "trace_decode_token_ids",
        "watermarking",
    }
)
_GREEDY = 1e-5
"""vLLM treats lower temperatures as greedy."""
_MAX_COPIES = 128
STRUCTURED = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
_STRUCTURED_OPTIONS = (
    "disable_any_whitespace",
    "disable_additional_properties",
    "whitespace_pattern",
)


@dataclass(frozen=True, slots=True)
class Sampling:
    """One request's sampling, ready for the engine."""

    params: Any
    priority: int = 0
    copies: int = 1
    """The number of identical completions; the engine generates one."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """Turns requests' parameters into `Sampling`.

    `convert` makes vLLM's object from plain values and may raise anything that names a fault.
    """

    names: frozenset[str]
    context_length: int
    convert: Callable[[dict[str, Any]], Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def read(
        self, parameters: Mapping[str, Any], prompt_tokens: int, context_length: int | None = None
    ) -> Sampling:
        """Reads the sampling of a request whose prompt has `prompt_tokens` tokens. `max_tokens` is
        limited to the rest of the context.

        Raises InvalidInput for unknown names, bad values, and a prompt that fills the context.
        """
        limit = min(context_length or self.context_length, self.context_length)
        room = limit - prompt_tokens
        if room < 1:
            raise ContextOverflow(
                f"the prompt has {prompt_tokens} tokens, which leaves no room for a reply in the"
                f" model's context of {limit}; shorten it",
                param="messages",
                limit=limit,
                prompt_tokens=prompt_tokens,
                requested_tokens=1,
            )
        values = {**self.defaults, **self._given(parameters)}
        asked = values.setdefault("max_tokens", room)
        if isinstance(asked, int):  # else `convert` refuses it
            if asked > self.context_length:
                raise ContextOverflow(
                    f"'max_tokens' is {asked}, more than the model's context of"
                    f" {self.context_length}; request fewer",
                    param="max_tokens",
                    limit=self.context_length,
                    prompt_tokens=prompt_tokens,
                    requested_tokens=asked,
                )
            # clients often send the context length; only more than that is a mistake
            values["max_tokens"] = min(asked, room)
        copies = _equal_completions(values)
        if copies > 1:
            values["n"] = 1
        return replace(self._make(values), copies=copies)

    def read_plain(self, parameters: Mapping[str, Any]) -> Sampling:
        """With vLLM's defaults, as Triton's own vLLM backend does (`max_tokens` 16)."""
        return self._make(self._given(parameters))

    def _given(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        check_names(parameters, self.names)
        structured = parameters.get("structured_outputs")
        if isinstance(structured, Mapping):
            check_names(structured, (*STRUCTURED, *_STRUCTURED_OPTIONS), "structured_outputs.")
            if sum(structured.get(name) is not None for name in STRUCTURED) != 1:
                raise InvalidInput(
                    "'structured_outputs' must contain exactly one of " + ", ".join(STRUCTURED),
                    param="structured_outputs",
                )
        return {name: value for name, value in parameters.items() if value is not None}

    def _make(self, values: dict[str, Any]) -> Sampling:
        priority = values.pop("priority", 0)
        if not isinstance(priority, int) or isinstance(priority, bool):
            raise InvalidInput("'priority' must be an integer", param="priority")
        try:
            return Sampling(self.convert(values), priority)
        except StepError:
            raise
        except (ValueError, TypeError) as error:
            raise refusal(error) from error


def _equal_completions(values: Mapping[str, Any]) -> int:
    """The number of completions that are identical because sampling is greedy, which vLLM refuses
    when it is more than one."""
    n, temperature = values.get("n"), values.get("temperature")
    greedy = isinstance(temperature, int | float) and 0 <= temperature < _GREEDY
    # beyond `_MAX_COPIES` vLLM itself refuses the number
    return n if greedy and type(n) is int and 1 < n <= _MAX_COPIES else 1


def check_names(given: Iterable[str], known: Iterable[str], prefix: str = "") -> None:
    """Raises InvalidInput for the first unknown name, with the nearest known one."""
    known = sorted(known)
    for name in given:
        if name not in known:
            shown = prefix + clip(name, 64)
            raise InvalidInput(
                f"unknown sampling parameter '{shown}'; {remedy(name, known, prefix)}",
                code="unknown_parameter",
                param=shown,
            )


def refusal(error: Exception) -> InvalidInput:
    """vLLM's or msgspec's error as InvalidInput, with the parameter that it names."""
    message = str(error.args[0]) if error.args else str(error)
    at = re.search(r" - at `\$\.?([^`]*)`$", message)
    if at:
        field_name = re.split(r"[.\[]", at[1])[0]
        return InvalidInput(f"'{at[1]}': {message[: at.start()]}", param=field_name)
    named = getattr(error, "parameter", None)
    if named is None and (word := re.match(r"`?'?([a-z_]+)\b", message)):
        named = word[1] if "_" in word[1] or word[1] in {"stop", "n", "seed"} else None
    return InvalidInput(message, param=named)


def make_sampler(llm: Any) -> Sampler:
    """Makes the sampler of a built engine, with its context length and its model's defaults."""
    import msgspec
    from vllm import SamplingParams  # type: ignore[import-not-found]
    from vllm.sampling_params import RequestOutputKind  # type: ignore[import-not-found]

    public = {name for name in SamplingParams.__struct_fields__ if not name.startswith("_")}

    def convert(values: dict[str, Any]) -> Any:
        params = msgspec.convert(values, SamplingParams, str_keys=True)
        # not left to clients: cumulative outputs would be sent again with every token
        params.output_kind = RequestOutputKind.DELTA
        return params

    return Sampler(
        names=frozenset(public - HIDDEN | {"priority"}),
        context_length=llm.model_config.max_model_len,
        convert=convert,
        # from generation_config.json, as vLLM's own server applies it
        defaults=llm.model_config.get_diff_sampling_param(),
    )
