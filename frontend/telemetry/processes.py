"""Metrics of several gateway processes that share a folder of files, the library's own format.

A process that is gone leaves its counters, so that no sum ever falls, and its gauges are removed.
The counters of all that are gone are in one file of each kind, so the folder does not grow. A lock
says who is alive, since the number of a process is given again, in containers always the same.
"""

import fcntl
import json
import logging
import os
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

_FILE = re.compile(r"([a-z]+)_(?:[a-z]+_)?(\d+)\.db")
_GONE = "0"
"""In place of the number of a process: what all that are gone have counted."""
_FOLDER, _PLAN = "folder.lock", "merge.json"
_log = logging.getLogger(__name__)


@cache  # as the library's files, which stay open until the process ends
def begin_process(folder: str) -> IO[str]:
    """Says that this process is alive, for as long as it is; begins with counters of 0.

    Raises ValueError where a process with the same number, of another container, is alive.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    with _locked(place, fcntl.LOCK_EX):
        _merge(place)
        alive = _lock_of(place, str(os.getpid())).open("w")
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alive.close()
            raise ValueError(
                f"PROMETHEUS_MULTIPROC_DIR: another process with the number {os.getpid()} uses"
                f" '{folder}'; containers cannot share the folder, give each its own"
            ) from None
    return alive


@contextmanager
def registry_of_all(folder: str) -> Iterator[CollectorRegistry]:
    """What all processes counted; CPU and memory are those of the one that is asked. The files stay
    as they are until the block ends."""
    place = Path(folder)
    with _locked(place, fcntl.LOCK_SH):
        is_due = (place / _PLAN).exists() or _gone(place)
    if is_due:
        with _locked(place, fcntl.LOCK_EX):
            _merge(place)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    with _locked(place, fcntl.LOCK_SH):
        MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
        yield registry


@contextmanager
def _locked(place: Path, kind: int) -> Iterator[None]:
    with (place / _FOLDER).open("a") as lock:
        fcntl.flock(lock, kind)
        yield


def _merge(place: Path) -> None:
    """Adds the counters of processes that are gone to one file. A process that is killed here has
    done all of it or nothing: the plan decides, and the next process carries it out."""
    _carry_out(place)
    gone = _gone(place)
    added = []
    for kind in {one[1] for one in map(_parts, gone) if one[1] != "gauge"}:
        files = [one for one in gone if _parts(one)[1] == kind]
        if (before := place / f"{kind}_{_GONE}.db").exists():
            files.append(before)
        _write(place / f"{kind}.new", _sum(files))
        added.append(kind)
    if gone:
        plan = json.dumps({"kinds": added, "remove": [one.name for one in gone]})
        (place / "plan.new").write_text(plan)
        (place / "plan.new").replace(place / _PLAN)
        _carry_out(place)


def _carry_out(place: Path) -> None:
    """The second time it changes nothing."""
    if not (place / _PLAN).exists():
        return
    plan = json.loads((place / _PLAN).read_text())
    for kind in plan["kinds"]:
        if (new := place / f"{kind}.new").exists():
            new.replace(place / f"{kind}_{_GONE}.db")
    for name in plan["remove"]:
        (place / name).unlink(missing_ok=True)
    for number in {_parts(place / name)[2] for name in plan["remove"]}:
        _lock_of(place, number).unlink(missing_ok=True)
    (place / _PLAN).unlink()


def _sum(files: Iterable[Path]) -> dict[str, float]:
    values = defaultdict[str, float](float)
    for file in files:
        try:
            read = [*MmapedDict.read_all_values_from_file(str(file))]  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError, ValueError, struct.error) as error:
            # it would make every answer of /metrics fail
            _log.warning("%s cannot be read; its counts are not included: %s", file, error)
            continue
        for key, value, _, _ in read:
            values[key] += value
    return values


def _write(file: Path, values: dict[str, float]) -> None:
    file.unlink(missing_ok=True)  # of a process that was killed before it had a plan
    written = MmapedDict(str(file))  # type: ignore[no-untyped-call]
    for key, value in values.items():
        written.write_value(key, value, 0)  # type: ignore[no-untyped-call]
    written.close()  # type: ignore[no-untyped-call]


def _gone(place: Path) -> list[Path]:
    """The files of processes that are gone."""
    files = [one for one in sorted(place.iterdir()) if _FILE.fullmatch(one.name)]
    numbers = {_parts(one)[2] for one in files} - {_GONE}
    dead = {number for number in numbers if not _is_alive(place, number)}
    return [one for one in files if _parts(one)[2] in dead]


def _is_alive(place: Path, number: str) -> bool:
    try:
        with _lock_of(place, number).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _lock_of(place: Path, number: str) -> Path:
    return place / f"{number}.lock"


def _parts(file: Path) -> re.Match[str]:
    match = _FILE.fullmatch(file.name)
    assert match is not None
    return match
