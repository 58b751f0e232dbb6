"""Request bodies of the accounts API. Only declared fields can be set, so ids and digests cannot.

In edits an omitted field is unchanged, and null removes its value.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from frontend.dialects.declare import Body, about

_S = 1_000_000
Weight = Annotated[int, Meta(ge=1, le=1000)]
Instant = Annotated[int, Meta(ge=0, le=2**33)]
Grace = Annotated[int, Meta(ge=0, le=30 * 24 * 3600)]
Patterns = Annotated[list[str], Meta(max_length=100)]
_MODELS = about("Models that the key may use, as patterns in which '*' stands for any text.")
_ENDPOINTS = about("Routes that the key may use, as patterns such as '/v1/*'.")
_NETWORKS = about("Addresses or networks that the key may be used from.")
_EXPIRES = about("When the key expires, in seconds since 1970. Default: never.")
_WEIGHT = about("The share in the scheduler, relative to others.")
Level = Literal["none", "metadata", "full"]
Days = Annotated[int, Meta(ge=1, le=36_500)]
_AUDIT = about(
    "What the audit keeps about its requests: 'none', 'metadata' (no text), or 'full' (prompts"
    " and answers). null: the gateway's setting applies."
)
_STRICT = about(
    "With 'full': whether requests are refused when their records could be lost. null: the"
    " gateway's setting applies."
)
_DAYS = about("Days until audit records are removed. null: the gateway's setting applies.")
_UPSTREAMS = about(
    'Labels with the values that are allowed, such as {"site": ["local"]}: prompts are only sent to'
    " upstreams that satisfy all of them. null: to every upstream."
)
Allowed = dict[str, list[str]]
_DISABLED = about("Whether its keys are refused.")


class OrganisationBody(Body, kw_only=True):
    """A new organisation."""

    name: Annotated[str, about("The name, unique among organisations.")]


class OrganisationEdit(Body, kw_only=True):
    """Changes of an organisation."""

    name: Annotated[str | UnsetType, about("The name.")] = UNSET
    disabled: Annotated[bool | UnsetType, _DISABLED] = UNSET


class GroupBody(Body, kw_only=True):
    """A new group."""

    name: Annotated[str, about("The name, unique in its organisation.")]
    organisation_id: Annotated[
        str | None, about("The id of the organisation. Default: 'default'.")
    ] = None
    weight: Annotated[Weight, _WEIGHT] = 1
    audit: Annotated[Level | None, _AUDIT] = None
    audit_strict: Annotated[bool | None, _STRICT] = None
    audit_days: Annotated[Days | None, _DAYS] = None
    upstreams: Annotated[Allowed | None, _UPSTREAMS] = None


class GroupEdit(Body, kw_only=True):
    """Changes of a group."""

    name: Annotated[str | UnsetType, about("The name.")] = UNSET
    weight: Annotated[Weight | UnsetType, _WEIGHT] = UNSET
    audit: Annotated[Level | UnsetType | None, _AUDIT] = UNSET
    audit_strict: Annotated[bool | UnsetType | None, _STRICT] = UNSET
    audit_days: Annotated[Days | UnsetType | None, _DAYS] = UNSET
    upstreams: Annotated[Allowed | UnsetType | None, _UPSTREAMS] = UNSET
    disabled: Annotated[bool | UnsetType, _DISABLED] = UNSET


class UserBody(Body, kw_only=True):
    """A new user."""

    name: Annotated[str, about("The name to sign in with, unique.")]
    role: Annotated[str, about("The name of the role.")] = "student"
    group_id: Annotated[str | None, about("The id of the group. Default: 'default'.")] = None
    display_name: Annotated[str, about("The name that pages show.")] = ""
    email: Annotated[str | None, about("The e-mail address, unique.")] = None


class UserEdit(Body, kw_only=True):
    """Changes of a user."""

    name: Annotated[str | UnsetType, about("The name to sign in with.")] = UNSET
    role: Annotated[str | UnsetType, about("The name of the role.")] = UNSET
    group_id: Annotated[str | UnsetType, about("The group.")] = UNSET
    display_name: Annotated[str | UnsetType, about("The name that pages show.")] = UNSET
    email: Annotated[str | UnsetType | None, about("The address.")] = UNSET
    disabled: Annotated[bool | UnsetType, _DISABLED] = UNSET


class OwnEdit(Body, kw_only=True):
    """Changes of the caller's own account."""

    display_name: Annotated[str | UnsetType, about("The name that pages show.")] = UNSET
    email: Annotated[str | UnsetType | None, about("The address.")] = UNSET


class PasswordBody(Body, kw_only=True):
    """A change of the caller's own password."""

    current_password: Annotated[str, Meta(max_length=256), about("The current password.")]
    new_password: Annotated[str, Meta(max_length=256), about("10 to 256 characters.")]


class FactorBody(Body, kw_only=True):
    """The beginning of a second factor."""

    current_password: Annotated[
        str,
        Meta(max_length=256),
        about("The current password; not needed for an account without one."),
    ] = ""


class CodeBody(Body, kw_only=True):
    """A code of the second factor."""

    code: Annotated[str, Meta(max_length=40), about("Six digits, or a recovery code.")]


class RoleBody(Body, kw_only=True):
    """A new role."""

    name: Annotated[str, about("The name, unique.")]
    weight: Annotated[Weight, _WEIGHT] = 1
    permissions: Annotated[
        Annotated[list[str], Meta(max_length=50)], about("What its users may do.")
    ]


class RoleEdit(Body, kw_only=True):
    """Changes of a role."""

    weight: Annotated[Weight | UnsetType, _WEIGHT] = UNSET
    permissions: Annotated[
        Annotated[list[str], Meta(max_length=50)] | UnsetType, about("What its users may do.")
    ] = UNSET


class KeyBudget(Body, kw_only=True):
    """Tokens that a key may use in each period."""

    tokens: Annotated[Annotated[int, Meta(ge=0)], about("How many tokens.")]
    period: Annotated[
        str, about("day, week, month, year, or a rolling period such as 30d or 12h.")
    ] = "month"


class _Limited(Body, kw_only=True):
    """The limits of a key."""

    budget: Annotated[KeyBudget | None, about("Tokens that the key may use.")] = None
    models: Annotated[Patterns | None, _MODELS] = None
    endpoints: Annotated[Patterns | None, _ENDPOINTS] = None
    networks: Annotated[Patterns | None, _NETWORKS] = None
    expires_at: Annotated[Instant | None, _EXPIRES] = None


class OwnKeyBody(_Limited, kw_only=True):
    """A new key of the caller."""

    name: Annotated[str, about("A name to recognize the key by.")] = ""


class KeyBody(OwnKeyBody, kw_only=True):
    """A new key of any user."""

    user_id: Annotated[str, about("The owner.")]


class KeyEdit(Body, kw_only=True):
    """Changes of a key."""

    name: Annotated[str | UnsetType, about("A name to recognize the key by.")] = UNSET
    models: Annotated[Patterns | UnsetType | None, _MODELS] = UNSET
    endpoints: Annotated[Patterns | UnsetType | None, _ENDPOINTS] = UNSET
    networks: Annotated[Patterns | UnsetType | None, _NETWORKS] = UNSET
    expires_at: Annotated[Instant | UnsetType | None, _EXPIRES] = UNSET
    disabled: Annotated[bool | UnsetType, about("Whether the key is refused.")] = UNSET


class RotationBody(Body, kw_only=True):
    """A new text for a key."""

    grace_s: Annotated[
        Grace, about("Seconds for which the old key stays valid; at most 30 days.")
    ] = 24 * 3600


class FormBody(Body, kw_only=True):
    """A request for a key from a person without an account."""

    name: Annotated[str, about("The requested name of the account.")]
    email: Annotated[str, about("The applicant's e-mail address.")]
    reason: Annotated[str, about("What the key is for.")]


class ApprovalBody(_Limited, kw_only=True):
    """The account that an applicant gets, and its key."""

    name: Annotated[str | None, about("The account's name. Default: the requested one.")] = None
    role: Annotated[str, about("The name of the role.")] = "student"
    group_id: Annotated[str | None, about("The id of the group. Default: 'default'.")] = None
    key_name: Annotated[str, about("A name to recognize the key by.")] = ""


class RefusalBody(Body, kw_only=True):
    """Why a request is refused."""

    note: Annotated[str, about("The reason, which the applicant sees.")] = ""


class NoBody(Body, kw_only=True):
    """A request without fields."""


def changed(body: Struct) -> dict[str, Any]:
    """The sent fields of an edit with their new values; instants in microseconds."""
    values = {
        field.name: value
        for field in structs.fields(body)
        if (value := getattr(body, field.name)) is not UNSET
    }
    if "expires_at" in values:
        values["expires_at_us"] = instant_us(values.pop("expires_at"))
    return values


def instant_us(seconds: int | None) -> int | None:
    """Microseconds of an instant in seconds."""
    return None if seconds is None else seconds * _S
