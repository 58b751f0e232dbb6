"""Formats sizes, ages and durations for people: three digits and a unit."""

_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_TIMES = (("weeks", 604800), ("days", 86400), ("h", 3600), ("min", 60))


def size(size_bytes: float) -> str:
    """`1.49 GiB`, `513 MiB`, `22.5 KiB`, `17 B`."""
    for unit, factor in _UNITS:
        if size_bytes >= factor:
            value = size_bytes / factor
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{size_bytes:.0f} B"


def age(seconds: float) -> str:
    """`3 days ago`, `just now`."""
    for unit, length in _TIMES:
        if seconds >= (2 * length if unit == "weeks" else length):
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


def duration(seconds: float) -> str:
    """`40 s`, `5 min`, `2.5 h`."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
