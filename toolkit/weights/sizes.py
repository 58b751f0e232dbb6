"""How many bytes a source is to download, before it is downloaded.

The catalogue knows some sources; a Hub, a store or a package registry is asked for the others: for
names and sizes, not for files.
"""

from importlib import import_module
from typing import Any

from toolkit.catalogue import catalogue
from toolkit.download import total_bytes
from toolkit.errors import ToolkitError
from toolkit.spec import GgufSource, HubSource, ObjectSource, PackageSource, Source
from toolkit.wheels import wheel_bytes


def download_bytes(source: Source, *, offline: bool = False) -> int | None:
    """The bytes of `source`, or None if they are not known: offline, or the server does not report
    them."""
    known = {each.source: each.size_bytes for each in catalogue().values()}
    if (size := known.get(str(source))) is not None or offline:
        return size
    inner = source.file if isinstance(source, GgufSource) else source
    try:
        return _ask(inner)
    except ToolkitError:  # a build says why; a plan continues without the number
        return None


def _ask(source: Source) -> int | None:
    match source:
        case PackageSource(requirement=requirement):
            return wheel_bytes(requirement)
        case HubSource():
            hub = _module("toolkit.weights.hub")
            return total_bytes(hub.snapshot(source).files.values()) if hub else None
        case ObjectSource():
            store = _module("toolkit.weights.objects")
            return sum(store.list_sizes(source)) if store else None
        case _:
            return None


def _module(name: str) -> Any:
    """A module that needs an extra; None if that is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None
