"""Converts Ollama's `options` to canonical sampling.

There are three kinds: options that the engine supports; options that do not change an answer here,
which cause a warning; and unsupported options that would change it, which are refused. Unknown ones
are ignored with a warning, as Ollama does.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from frontend.dialects.declare import (
    MAX_TOKENS,
    FrequencyPenalty,
    MinP,
    Open,
    PresencePenalty,
    Repetition,
    Seed,
    Stops,
    Tokens,
    TopP,
    about,
)
from frontend.dialects.read import known_names, listed
from frontend.dialects.refusal import refuse
from frontend.domain.durations import parse_duration
from frontend.domain.sampling import Sampling

_OPERATORS = (
    *("numa", "num_batch", "num_gpu", "main_gpu", "low_vram", "f16_kv", "use_mmap", "use_mlock"),
    *("num_thread", "logits_all", "vocab_only", "draft_num_predict"),
)
"""Placement and memory, which the operator decided when the model was loaded."""
KEEP_ALIVE = (
    "How long the model stays loaded after this request, if the operator lets it be unloaded and "
    "the key is an admin's. 0 without a prompt unloads it."
)
_KEEP = 4
"""Ollama's default of `num_keep`."""
_Temperature = Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)]
_MinusOne = Annotated[int, Meta(ge=-1, le=MAX_TOKENS)]
_MinusTwo = Annotated[int, Meta(ge=-2, le=MAX_TOKENS)]


class OptionsBody(Open, kw_only=True):
    """How tokens are chosen, and how much context there is."""

    temperature: Annotated[
        _Temperature | None, about("Randomness. 0 always chooses the most likely token.")
    ] = None
    top_p: TopP = None
    min_p: MinP = None
    presence_penalty: PresencePenalty = None
    frequency_penalty: FrequencyPenalty = None
    repeat_penalty: Annotated[
        Repetition | None, about("Above 1 it discourages repetition, below 1 it encourages it.")
    ] = None
    seed: Seed = None
    stop: Annotated[Stops | None, about("Texts that end the answer.")] = None
    top_k: Annotated[
        _MinusOne | None, about("Sample from this many of the most likely tokens. 0: all.")
    ] = None
    num_predict: Annotated[
        _MinusTwo | None, about("The token limit. Below 1: the rest of the context.")
    ] = None
    repeat_last_n: Annotated[
        _MinusOne | None, about("How many tokens repeat_penalty considers. 0: none.")
    ] = None
    penalize_newline: Annotated[bool | None, about("Newlines are always penalized.")] = None
    mirostat: Annotated[int | float | None, about("Only 0: off.")] = None
    tfs_z: Annotated[int | float | None, about("Only 0 or 1: off.")] = None
    typical_p: Annotated[int | float | None, about("Ignored, as by Ollama's own engine.")] = None
    mirostat_tau: Annotated[int | float | None, about("Ignored.")] = None
    mirostat_eta: Annotated[int | float | None, about("Ignored.")] = None
    embedding_only: Annotated[bool | None, about("Only false.")] = None
    num_ctx: Annotated[Tokens | None, about("Tokens of prompt and answer.")] = None
    num_keep: Annotated[
        _MinusOne | None, about("Tokens that stay at the start of a prompt that is shortened.")
    ] = None


@dataclass(slots=True)
class Options:
    """The options of one request; `warnings` say what was ignored."""

    sampling: Sampling = field(default_factory=Sampling)
    warnings: list[str] = field(default_factory=list)
    context: int | None = None
    keep: int = _KEEP
    keep_s: float | None = None
    """`keep_alive` in seconds, if it is given."""

    def warn_of_stay(self) -> None:
        """Warns that `keep_alive` has no effect."""
        self.warnings.append("keep_alive: the operator decides how long the model stays loaded")

    def warn_of_context(self, served: int | None) -> None:
        """Warns that embeddings use the model's own context."""
        if served is not None and self.context not in (None, served):
            self.warnings.append(f"num_ctx: the model reads {served} tokens of each text")

    def resolve_context(self, served: int | None) -> int | None:
        """The context for prompt and reply in tokens; None if unknown. Like Ollama, limits the
        requested context to the model's, with a warning."""
        if served is not None and self.context is not None and self.context > served:
            self.warnings.append(f"num_ctx: the model is served with {served} tokens")
        known = [one for one in (served, self.context) if one is not None]
        return min(known) if known else None


def make_options(given: OptionsBody | None, raw: Any) -> Options:
    """Canonical options of the parsed and the sent ones (`raw`), with warnings about those that are
    ignored. Raises InvalidRequest, naming the option, for one that cannot be honoured."""
    if given is None:
        return Options()
    _check_off(given)
    warnings: list[str] = []
    penalty = _penalty(given, warnings)
    if given.typical_p not in (None, 0, 1):
        warnings.append("typical_p: is ignored, as Ollama's own engine ignores it")
    warnings += _ignored(raw)
    # -1 keeps the whole prompt
    keep = _KEEP if given.num_keep is None else given.num_keep
    return Options(
        _sampling(given, penalty), warnings, given.num_ctx, keep if keep >= 0 else MAX_TOKENS
    )


def parse_keep_alive(given: float | str | None) -> float | None:
    """Seconds; infinite for a negative value, None if it is not given. Raises InvalidRequest for a
    text that is not a duration."""
    if given is None:
        return None
    try:
        return parse_duration(str(given))
    except ValueError as error:
        raise refuse("keep_alive", str(error)) from None


def _sampling(body: OptionsBody, penalty: float | None) -> Sampling:
    top_p, top_k = body.top_p, None if body.top_k is None else body.top_k or -1  # 0 turns it off
    if top_p == 0:  # engines do not allow it: only the likeliest token is left
        top_p, top_k = None, 1 if top_k is None else top_k
    limit = body.num_predict
    return Sampling(
        max_tokens=limit if limit is not None and limit > 0 else None,
        temperature=body.temperature,
        top_p=top_p,
        min_p=body.min_p,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=penalty,
        seed=body.seed,
        stop=[text for text in listed(body.stop) if text] or None,
        top_k=top_k,
    )


def _penalty(body: OptionsBody, warnings: list[str]) -> float | None:
    """The engine's penalty looks at all tokens: a shorter window matters only with one."""
    penalty, window = body.repeat_penalty, body.repeat_last_n
    penalized = penalty not in (None, 1)
    if window not in (None, 0, -1) and penalized:
        warnings.append("repeat_last_n: the whole context is penalized")
    if body.penalize_newline is False and penalized:
        warnings.append("penalize_newline: newlines are penalized as well")
    return None if window == 0 else penalty


def _check_off(body: OptionsBody) -> None:
    """Other ways of sampling, unless they are turned off."""
    for name, off in (("mirostat", (0,)), ("tfs_z", (0, 1))):
        if getattr(body, name) not in (None, *off):
            path = f"options.{name}"
            raise refuse(path, "is a sampling method that this server does not support")
    if body.embedding_only:
        raise refuse("options.embedding_only", "is not supported: use an embedding model")


def _ignored(raw: dict[str, Any]) -> list[str]:
    """Warnings of what has no effect."""
    known = known_names(OptionsBody)
    unread = [name for name, value in raw.items() if value is not None and name not in known]
    operators = [name for name in _OPERATORS if name in unread]
    return [f"{name}: is set by the operator" for name in operators] + [
        f"{name[:64]}: unknown" for name in unread if name not in _OPERATORS
    ]
