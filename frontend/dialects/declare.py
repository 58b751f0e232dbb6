"""The types for declaring request bodies: each field has a type, bounds and a description.

A body is a `msgspec.Struct`. Parsing (`frontend.dialects.read`), the OpenAPI document and the
"did you mean" hint derive from it. Types are strict, and an explicit null means absent.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

MAX_TOKENS = MAX_TOKEN_ID = 2**31 - 1
"""Token counts and ids are sent as INT32."""
MAX_STOPS = 64
MAX_TOP_LOGPROBS = 20


class Body(Struct, kw_only=True, forbid_unknown_fields=True):
    """An object whose unknown fields are refused."""


class Open(Struct, kw_only=True):
    """An object whose unknown fields are ignored."""


class Off:
    """The type of a field that can only be false."""


class Refused:
    """The type of a field that is known, and refused whatever its value."""


def about(
    description: str,
    *,
    must_be: str | None = None,
    says: str | None = None,
    missing: str | None = None,
    reason: str | None = None,
    unknown: tuple[str, str | None] | None = None,
    shown_as: tuple[Any, ...] | None = None,
) -> Meta:
    """The description of a field, and the texts of its errors if those of its type do not suffice.

    `must_be` completes "must be …, not 5"; `says` replaces all of that. `missing` says that the
    field is required. `reason` follows "is not supported: ". `unknown` is what is said about a text
    or tag that is not declared, and the error's code. `shown_as` are the types that the
    OpenAPI document shows.
    """
    extra = {
        "must_be": must_be,
        "says": says,
        "missing": missing,
        "reason": reason,
        "unknown": unknown,
        "shown_as": shown_as,
    }
    given = {name: value for name, value in extra.items() if value is not None}
    return Meta(description=description, extra=given)


Object = dict[str, Any]
Fraction = Annotated[int, Meta(ge=0, le=1)] | Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[int, Meta(ge=-2, le=2)] | Annotated[float, Meta(ge=-2, le=2)]
Repetition = Annotated[int, Meta(ge=1, le=10)] | Annotated[float, Meta(ge=0.01, le=10)]
Positive = Annotated[int, Meta(ge=1)]
Tokens = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
TokensOrNone = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
TokenId = Annotated[int, Meta(ge=0, le=MAX_TOKEN_ID)]
TokenIdList = list[TokenId]
TopLogprobs = Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)]
Stops = str | Annotated[list[str], Meta(max_length=MAX_STOPS)]
Empty = Annotated[list[Any], Meta(max_length=0)]
# fields that bodies of several dialects share, with what they mean
TopP = Annotated[
    Fraction | None,
    about("Sample from the most likely tokens whose probabilities add up to this value."),
]
MinP = Annotated[
    Fraction | None,
    about("Exclude tokens below this fraction of the most likely token's probability."),
]
PresencePenalty = Annotated[
    Penalty | None, about("Lowers the probability of tokens that have already been used.")
]
FrequencyPenalty = Annotated[
    Penalty | None, about("Lowers the probability of tokens by how often they have been used.")
]
Seed = Annotated[
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None,
    about("The same seed gives the same answer."),
]
