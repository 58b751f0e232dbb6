"""`POST /v1/completions`: one or many prompts, as text or token ids → canonical generations. Pure.

`max_tokens: 0` with `echo` scores a prompt: the engine generates one token, which is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from msgspec import Meta

from frontend.dialects.declare import TokenIdList, TokensOrNone, about
from frontend.dialects.openai.formats import Formatted, make_format
from frontend.dialects.openai.identity import check_model
from frontend.dialects.openai.sampling import MAX_CHOICES, make_sampling
from frontend.dialects.openai.streaming import StreamOptions, make_stream_options
from frontend.dialects.openai.structure import names_of, schemas_of
from frontend.dialects.read import is_token_ids, read
from frontend.dialects.refusal import check_count, refuse
from frontend.domain.generation import Generation, Passage, Prompt, Reply, TokenIds
from frontend.domain.sampling import Sampling

# OpenAI's default on this route, unlike the chat's
_DEFAULT_MAX_TOKENS = 16
_PROMPT = "must be a string, token ids, or a non-empty list of these"
_Prompts = str | Annotated[list[Any], Meta(min_length=1)]
_BestOf = Annotated[int, Meta(ge=1, le=MAX_CHOICES)]
_Logprobs = Annotated[int, Meta(ge=0, le=5)]


class CompletionBody(Formatted, kw_only=True):
    """Texts to be continued."""

    prompt: Annotated[
        _Prompts,
        about(
            "Text, token ids, or a list of either.",
            says=_PROMPT,
            shown_as=(str, list[str], TokenIdList, list[TokenIdList]),
        ),
    ]
    suffix: Annotated[
        str | None, about("The text after the answer: the model fills in what is between.")
    ] = None
    max_tokens: Annotated[
        TokensOrNone | None, about("The token limit. 0, with echo, scores the prompt.")
    ] = None
    echo: Annotated[bool | None, about("Return the prompt before the answer.")] = None
    best_of: Annotated[
        _BestOf | None, about("Generate this many answers and return the n most likely.")
    ] = None
    logprobs: Annotated[
        _Logprobs | None,
        about("Return log probabilities of each token and of this many alternatives."),
    ] = None
    add_special_tokens: Annotated[
        bool | None, about("Whether the tokenizer adds its special tokens. Default: true.")
    ] = None


@dataclass(frozen=True, slots=True)
class CompletionCall:
    """A parsed completion request; `generations` has one entry per prompt."""

    model: str
    generations: list[Generation]
    n: int
    best_of: int
    echo: bool
    logprobs: int | None
    score_only: bool
    stream: bool
    stream_options: StreamOptions
    user: str | None
    token_ids: bool = False
    """Whether the answer has them beside its text."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What the caller calls the fields that errors name as the engine does."""


def parse_completion(body: object, max_prompts: int) -> CompletionCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    given = read(CompletionBody, body)
    check_model(given)
    prompts = _prompts(given, max_prompts)
    structure = make_format(given)
    score_only = _scores(given)
    n, best_of = _best_of(given)
    # each choice of each prompt is a sequence of its own in the engine
    if (choices := len(prompts) * max(n, best_of)) > max_prompts:
        raise refuse("n", f"makes {choices} choices in all; at most {max_prompts} are allowed")
    stream_options = make_stream_options(given)
    sampling = _sampling(given, prompts, n, best_of)
    names = {"messages": "prompt", **names_of(structure)}
    if score_only:  # no answer, nothing to hold it to
        structure = None
    shared = Generation(
        prompts[0],
        sampling,
        structure=structure,
        param="prompt",
        schemas=schemas_of(structure),
        cache_salt=given.cache_salt,
        session=given.prompt_cache_key,
    )
    token_ids = bool(given.return_token_ids)
    return CompletionCall(
        given.model,
        [replace(shared, prompt=one, reply=_reply(one, token_ids)) for one in prompts],
        n,
        best_of,
        bool(given.echo),
        given.logprobs,
        score_only,
        bool(given.stream),
        stream_options,
        given.user,
        token_ids,
        names,
    )


def _sampling(body: CompletionBody, prompts: list[Prompt], n: int, best_of: int) -> Sampling:
    asked, logprobs = body.logprobs, body.logprobs
    # `best_of` compares log probabilities, also where the caller did not request any
    if logprobs is None and best_of > n:
        logprobs = 0
    # the text of a prompt of ids comes with its log probabilities
    by_ids = any(isinstance(prompt, TokenIds) for prompt in prompts)
    scored = (asked or 0) if body.echo and (asked is not None or by_ids) else None
    # engines generate at least one token; a score leaves it out
    limit = _DEFAULT_MAX_TOKENS if body.max_tokens is None else max(1, body.max_tokens)
    return make_sampling(
        body,
        n=best_of if best_of > 1 else body.n,
        max_tokens=limit,
        logprobs=logprobs,
        prompt_logprobs=scored,
    )


def _reply(prompt: Prompt, token_ids: bool) -> Reply | None:
    """The text stays as the model writes it."""
    if isinstance(prompt, Passage) and prompt.suffix is not None:
        return Reply(prompt_token_ids=token_ids)
    return Reply(raw=True, prompt_token_ids=True) if token_ids else None


def _prompts(body: CompletionBody, most: int) -> list[Prompt]:
    given, special = body.prompt, body.add_special_tokens
    if isinstance(given, str) or is_token_ids(given):
        given = [given]
    check_count("prompt", given, most)
    if all(isinstance(one, str) for one in given):
        suffix = _suffix(body)
        return [Passage(one, suffix, special) for one in given]
    if not all(is_token_ids(one) and one for one in given):
        raise refuse("prompt", _PROMPT)
    if _suffix(body) is not None:
        raise refuse("suffix", "needs prompts that are text, not token ids")
    return [TokenIds(one) for one in given]


def _suffix(body: CompletionBody) -> str | None:
    """The text after the gap that the model is asked to fill, if the model can do that."""
    if body.suffix and body.echo:
        raise refuse("suffix", "cannot be combined with 'echo'; leave one of them out")
    return body.suffix or None


def _scores(body: CompletionBody) -> bool:
    """Whether only the prompt is to be scored."""
    if body.max_tokens == 0 and not body.echo:
        raise refuse("max_tokens", "is 0, which is only allowed with 'echo': true")
    return body.max_tokens == 0


def _best_of(body: CompletionBody) -> tuple[int, int]:
    n = body.n or 1
    best_of = body.best_of or n
    if best_of < n:
        raise refuse("best_of", f"is {best_of}; it must be at least 'n' ({n})")
    if best_of > n and body.stream:
        raise refuse("best_of", "greater than 'n' cannot be streamed")
    return n, best_of
