"""Room for models that requests load: which others are unloaded for one, and which never are. Pure.

The least recently used ones go first, and only if that makes enough room. A model that is always
loaded, has requests, or was loaded a moment ago stays; one that another gateway uses stays a while
longer, so that two gateways do not take the memory from each other in turn.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frontend.domain.models import Version
from frontend.domain.room import RoomLimits

_TURNS_OF_OTHERS = 6
"""A model that other gateways use is kept for this many times `min_stay_s` after it was loaded:
without an end, one model would keep all others out."""
_SAME_S = 1.0
"""Triton counts a request of this gateway a moment before this gateway does."""
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Resident:
    """A loaded model. `is_idle`: it may be unloaded, and this gateway has no request for it."""

    name: str
    size_bytes: int
    on_demand: bool
    is_idle: bool
    age_s: float
    """Since it was loaded, as far as this gateway knows."""
    used_s_ago: float
    """By requests of this gateway."""
    used_by_others_s_ago: float = math.inf


def fits(residents: Sequence[Resident], size_bytes: int, limits: RoomLimits) -> bool:
    """Whether a model of that size can be loaded beside the others."""
    return limits.holds([size_bytes, *(one.size_bytes for one in residents)])


def can_fit(residents: Sequence[Resident], size_bytes: int, limits: RoomLimits) -> bool:
    """Whether it could be loaded if every model that may be unloaded were."""
    return fits([one for one in residents if not one.on_demand], size_bytes, limits)


def choose(residents: Sequence[Resident], size_bytes: int, limits: RoomLimits) -> list[str]:
    """The models to unload for it now, in order; none while that would not make enough room."""
    free = sorted(
        (one for one in residents if _is_free(one, limits)),
        key=lambda one: min(one.used_s_ago, one.used_by_others_s_ago),
        reverse=True,
    )
    chosen: list[str] = []
    for one in free:
        chosen.append(one.name)
        if fits([other for other in residents if other.name not in chosen], size_bytes, limits):
            return chosen
    return []


def _is_free(one: Resident, limits: RoomLimits) -> bool:
    if not one.is_idle or one.age_s < limits.min_stay_s:
        return False
    is_used_elsewhere = (
        one.used_by_others_s_ago < limits.min_stay_s
        and one.used_by_others_s_ago + _SAME_S < one.used_s_ago
    )
    return not is_used_elsewhere or one.age_s >= _TURNS_OF_OTHERS * limits.min_stay_s


def last_use(name: str, stored: Mapping[str, Sequence[Version]]) -> float:
    """When a model or one of its steps was last used by anybody, in seconds since 1970."""
    parts = (f"{name}.", f"{name}_")
    own = (versions for key, versions in stored.items() if key == name or key.startswith(parts))
    return max((one.used_at_s or 0.0 for versions in own for one in versions), default=0.0)


def no_room(name: str, size_bytes: int, residents: Sequence[Resident], limits: RoomLimits) -> str:
    """Why a model can never be loaded beside those that always are."""
    fixed = [one for one in residents if not one.on_demand]
    if len(fixed) >= limits.max_models:
        return (
            f"the model '{name}' cannot be loaded: {len(fixed)} models are always loaded, and at"
            f" most {limits.max_models:.0f} may be (setting max_loaded_models)"
        )
    used = sum(one.size_bytes for one in fixed)
    return (
        f"the model '{name}' cannot be loaded: it takes {size_bytes / _GIB:.2f} GiB and models that"
        f" are always loaded take {used / _GIB:.2f}, more than the {limits.max_bytes / _GIB:.2f}"
        " that they may take (setting max_loaded_gb)"
    )
