"""Completes names of models and targets in a shell.

It only reads files, so that Tab never waits for a service, and does not import psutil or gRPC.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from toolkit.home import home

_PUBLIC = re.compile(r'key: "toolkit\.kind"')
_HEAD_BYTES = 1 << 20


def complete_models(incomplete: str) -> list[str]:
    """The public models of the running services, or else of the repository in this folder."""
    names = {name for folder in _repositories() for name in _models_of(folder)}
    return sorted(name for name in names if name.startswith(incomplete))


def complete_runnable(incomplete: str) -> list[str]:
    """Like `complete_models`, with the names of `toolkit list-available`."""
    from toolkit.catalogue import catalogue

    known = [name for name in catalogue() if name.startswith(incomplete)]
    return list(dict.fromkeys([*complete_models(incomplete), *known]))


def _repositories() -> list[Path]:
    running = []
    for path in (home() / "running").glob("*.json"):
        with suppress(OSError, ValueError, KeyError):
            record = json.loads(path.read_text())
            # a reused number is accepted here; looking at its start time would take psutil
            if Path(f"/proc/{int(record['pid'])}").exists():
                running.append(Path(record["repository"]))
    # without a service the names are for `toolkit serve` and `run` in this folder
    return running or [Path("model_repository")]


def _models_of(repository: Path) -> Iterator[str]:
    for config in repository.glob("[!.]*/config.pbtxt"):
        with suppress(OSError, UnicodeDecodeError), config.open() as file:
            # a search in the text: importing protobuf would take longer than all of this
            if _PUBLIC.search(file.read(_HEAD_BYTES)):
                yield config.parent.name


def complete_targets(incomplete: str) -> list[str]:
    """The targets that a repository can be built for."""
    from toolkit.targets import TARGETS

    names = ("embedded", "container", *TARGETS)
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
