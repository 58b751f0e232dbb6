"""The sampling fields shared by OpenAI's chat, completions and responses. Pure.

Bounds are those that OpenAI states, and the engine's for fields that only engines have.
"""

from typing import Annotated, Any

from msgspec import Meta

from frontend.dialects.declare import (
    MAX_TOKEN_ID,
    FrequencyPenalty,
    MinP,
    Object,
    PresencePenalty,
    Repetition,
    Seed,
    Stops,
    TokenIdList,
    TokensOrNone,
    TopP,
    about,
)
from frontend.dialects.openai.structure import Structured
from frontend.dialects.read import listed
from frontend.dialects.refusal import refuse
from frontend.domain.sampling import Sampling

MAX_CHOICES = 128
MAX_BIASES = 4096
_EXTRAS = (
    *("ignore_eos", "stop_token_ids", "skip_special_tokens", "spaces_between_special_tokens"),
    *("include_stop_str_in_output", "priority"),
)
_Choices = Annotated[int, Meta(ge=1, le=MAX_CHOICES)]
_Temperature = Annotated[int, Meta(ge=0, le=2)] | Annotated[float, Meta(ge=0, le=2)]
_TopK = Annotated[int, Meta(ge=-1, le=MAX_TOKEN_ID)]
# below 0, the default of everybody, a request would pass others in the engine, past fair share
_Priority = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Salt = Annotated[str, Meta(min_length=1, max_length=256)]
_BadWords = str | Annotated[list[str], Meta(max_length=1000)]


class Sampled(Structured, kw_only=True):
    """How tokens are chosen, and when the model stops."""

    temperature: Annotated[
        _Temperature | None, about("Randomness. 0 always chooses the most likely token.")
    ] = None
    top_p: TopP = None
    presence_penalty: PresencePenalty = None
    frequency_penalty: FrequencyPenalty = None
    n: Annotated[_Choices | None, about("How many answers to generate.")] = None
    seed: Seed = None
    stop: Annotated[Stops | None, about("Texts that end the answer. They are not part of it.")] = (
        None
    )
    logit_bias: Annotated[
        Object | None, about("A bias from -100 to 100 for each of these token ids.")
    ] = None
    top_k: Annotated[
        _TopK | None, about("Sample from this many of the most likely tokens. -1: all.")
    ] = None
    min_p: MinP = None
    repetition_penalty: Annotated[
        Repetition | None, about("Above 1 it discourages repetition, below 1 it encourages it.")
    ] = None
    min_tokens: Annotated[
        TokensOrNone | None, about("Tokens to generate before the answer may end.")
    ] = None
    ignore_eos: Annotated[
        bool | None, about("Continue after the end of the answer, up to the token limit.")
    ] = None
    stop_token_ids: Annotated[
        TokenIdList | None, about("Token ids that end the answer.", must_be="a list of token ids")
    ] = None
    bad_words: Annotated[_BadWords | None, about("Words that are never generated.")] = None
    skip_special_tokens: Annotated[
        bool | None, about("Omit special tokens from the text. Default: true.")
    ] = None
    spaces_between_special_tokens: Annotated[
        bool | None, about("Put spaces between special tokens. Default: true.")
    ] = None
    include_stop_str_in_output: Annotated[
        bool | None, about("Keep the stop text at the end of the answer.")
    ] = None
    thinking_token_budget: Annotated[
        TokensOrNone | None, about("The maximum number of reasoning tokens.")
    ] = None
    priority: Annotated[
        _Priority | None, about("Requests with lower numbers run first in the engine. Default: 0.")
    ] = None
    cache_salt: Annotated[
        _Salt | None,
        about("Only requests with the same text share prefixes of prompts in the engine's cache."),
    ] = None


def make_sampling(body: Sampled, **more: Any) -> Sampling:
    """The canonical sampling; `more` are its fields that each route names in its own way."""
    top_p, top_k = body.top_p, body.top_k
    if top_p == 0:  # OpenAI allows it, engines do not: only the likeliest token is left
        top_p, top_k = None, 1
    if body.logit_bias is not None:
        _check_biases(body.logit_bias)
    return Sampling(
        temperature=body.temperature,
        top_p=top_p,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        seed=body.seed,
        stop=_stop(body),
        logit_bias=body.logit_bias,
        top_k=top_k,
        min_p=body.min_p,
        repetition_penalty=body.repetition_penalty,
        min_tokens=body.min_tokens,
        thinking_budget=body.thinking_token_budget,
        extras=_extras(body),
        **{"n": body.n, **more},
    )


def _extras(body: Sampled) -> dict[str, Any]:
    extras = {name: value for name in _EXTRAS if (value := getattr(body, name)) is not None}
    if body.bad_words is not None:
        extras["bad_words"] = listed(body.bad_words)
    return extras


def _stop(body: Sampled) -> list[str] | None:
    stops = listed(body.stop)
    if "" in stops:
        raise refuse("stop", "has an empty string, which would end every answer immediately")
    return stops or None


def _check_biases(biases: dict[str, Any]) -> None:
    if len(biases) > MAX_BIASES:
        raise refuse("logit_bias", f"has {len(biases)} entries; at most {MAX_BIASES} are allowed")
    for token, value in biases.items():
        if not _is_token_id(token):
            raise refuse("logit_bias", f"has the key {token[:20]!r}, which is not a token id")
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 100:
            raise refuse("logit_bias", f"of token {token[:20]} must be between -100 and 100")


def _is_token_id(token: str) -> bool:
    # the largest id has ten digits; int() of a longer text takes quadratic time
    plain = token.isascii() and token.isdecimal() and len(token) <= 10
    return plain and int(token) <= MAX_TOKEN_ID
