"""Bodies and answers for canaries."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from frontend.dialects.admin.answers import Shown
from frontend.dialects.admin.bodies import changed
from frontend.dialects.declare import Body, about
from frontend.domain.canaries import Canary, Target

_US = 1_000_000
StickyName = Literal["user", "session"]
Percent = Annotated[int, Meta(ge=0, le=100)] | Annotated[float, Meta(ge=0, le=100)]
ErrorPercent = Annotated[int, Meta(ge=1, le=100)]
Least = Annotated[int, Meta(ge=1, le=500)]
_TARGETS = about(
    "The models and their shares, which add up to 100 percent. The first one is the stable model,"
    " which is never withdrawn."
)
_STICKY = about(
    "What always gets the same model: a user, or a session (the header 'x-session-id') if the"
    " request names one."
)
_MOST = about("Error rate in percent above which a target other than the first one is withdrawn.")
_LEAST = about("Requests within the last ten minutes that are needed before the error rate counts.")


class TargetBody(Body, kw_only=True):
    """One model of a canary."""

    model: Annotated[
        str, Meta(min_length=1, max_length=256),
        about("Its own name; 'NAME@2' for version 2 of a model of Triton."),
    ]  # fmt: skip
    percent: Annotated[Percent, about("Its share of the users or sessions.")]


Targets = Annotated[list[TargetBody], Meta(min_length=1, max_length=10)]


class CanaryBody(Body, kw_only=True):
    """Models that share the requests for a name."""

    model: Annotated[
        str, Meta(min_length=1, max_length=128),
        about("The name that clients request: a model's, an alias, or a new one."),
    ]  # fmt: skip
    targets: Annotated[Targets, _TARGETS]
    sticky: Annotated[StickyName, _STICKY] = "user"
    max_error_percent: Annotated[ErrorPercent, _MOST] = 10
    min_requests: Annotated[Least, _LEAST] = 20


class CanaryEdit(Body, kw_only=True):
    """Changes of a canary; omitted fields are unchanged."""

    targets: Annotated[Targets | UnsetType, _TARGETS] = UNSET
    sticky: Annotated[StickyName | UnsetType, _STICKY] = UNSET
    max_error_percent: Annotated[ErrorPercent | UnsetType, _MOST] = UNSET
    min_requests: Annotated[Least | UnsetType, _LEAST] = UNSET
    revision: Annotated[
        str | UnsetType,
        about("The revision that you read; if it is no longer current, nothing is changed."),
    ] = UNSET


class PromoteBody(Body, kw_only=True):
    """The target that gets all requests."""

    target: Annotated[str, Meta(min_length=1, max_length=256), about("One of the targets.")]


def targets_of(body: list[TargetBody]) -> tuple[Target, ...]:
    """The targets that a body names."""
    return tuple(Target(one.model, one.percent) for one in body)


def changes_of(body: CanaryEdit) -> tuple[dict[str, Any], str | None]:
    """The columns that an edit changes, and the revision that its sender saw."""
    values = changed(body)
    revision = values.pop("revision", None)
    if not isinstance(body.targets, UnsetType):
        values["targets"] = targets_of(body.targets)
    return values, revision


def show_canary(one: Canary, figures: Mapping[str, Mapping[str, Any]] | None = None) -> Shown:
    """A canary. `figures`: the statistics of each target."""
    return {
        "id": one.id,
        "object": "canary",
        "model": one.name,
        "targets": [
            {
                "model": target.model,
                "percent": target.percent,
                "stable": number == 0,
                "withdrawn_at": target.withdrawn_at_us and target.withdrawn_at_us // _US,
                "reason": target.reason,
                **(figures or {}).get(target.model, {}),
            }
            for number, target in enumerate(one.shares)
        ],
        "sticky": one.sticky,
        "max_error_percent": one.max_error_percent,
        "min_requests": one.min_requests,
        "created_at": one.created_at_us // _US,
        "updated_at": one.updated_at_us // _US,
        "revision": one.revision,
    }
