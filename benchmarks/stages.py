"""Where the time to a first token goes: the stages of the chain, each with its median milliseconds.

Requests go one at a time through a copy of the repository whose steps write stamps
(python_backends/stages.py); perf_counter and monotonic are one clock on Linux.
"""

import re
import shutil
import statistics
from collections import defaultdict
from pathlib import Path

from benchmarks.chain import SHORT, run_streams

REQUESTS = 200
STAGES = (
    ("client", "prompt in", "client, gateway, Triton"),
    ("prompt in", "prompt out", "prompt step"),
    ("prompt out", "engine in", "hop from step to step in Triton"),
    ("engine in", "loop in", "engine's thread"),
    ("loop in", "core in", "vLLM's input processing, way to its core"),
    ("core in", "step in", "scheduler's queue"),
    ("step in", "step out", "first step"),
    ("step out", "engine out", "way back from vLLM's core"),
    ("engine out", "engine sent", "event written and handed to Triton"),
    ("engine sent", "answer", "Triton, gateway, client"),
    ("client", "answer", "all"),
)
Times = dict[str, float]


def stamped(repository: Path, copy: Path, stages: Path) -> Path:
    """A copy of the repository whose steps stamp into the folder `stages`."""
    shutil.copytree(repository, copy, symlinks=True)
    stages.mkdir()
    for config in copy.glob("*/config.pbtxt"):
        text = config.read_text()
        config.unlink()
        text += f'parameters {{ key: "stages" value {{ string_value: "{stages}" }} }}\n'
        config.write_text(text)
    return copy


def measure(port: int, model: str, stages: Path, requests: int = REQUESTS) -> list[str]:
    """Rows of a table: stage, its median and its 90th percentile in milliseconds."""
    run_streams(port, model, 1, SHORT)
    sent = []
    for _ in range(requests):
        ((answer,), _) = run_streams(port, model, 1, SHORT)
        sent.append((answer.start_s, answer.start_s + answer.first_s))
    stamps = _read(stages)
    spent = defaultdict(list)
    for start, end in sent:
        times = {"client": start, "answer": end, **_first_after(stamps, start)}
        for before, after, name in STAGES:
            spent[name].append((times[after] - times[before]) * 1000)
    return [_row(name, spent_ms) for name, spent_ms in spent.items()]


def _row(name: str, spent_ms: list[float]) -> str:
    high = statistics.quantiles(spent_ms, n=10)[-1]
    return f"| {name} | {statistics.median(spent_ms):.2f} | {high:.2f} |"


def _read(stages: Path) -> list[tuple[float, str]]:
    lines = [line for file in stages.iterdir() for line in file.read_text().splitlines()]
    split = [line.split("\t") for line in lines]
    return sorted((int(at) / 1e9, re.sub(r" \d+$", "", stage)) for stage, _, at in split)


def _first_after(stamps: list[tuple[float, str]], start: float) -> Times:
    """The first of each stage in its order; requests come one after the other."""
    found: Times = {}
    order = list(dict.fromkeys(before for before, _, _ in STAGES[1:-1]))
    waiting = iter(order)
    wanted = next(waiting, None)
    for at, stage in stamps:
        if at >= start and stage == wanted:
            found[stage] = at
            if (wanted := next(waiting, None)) is None:
                break
    return found
