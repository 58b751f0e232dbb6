"""`python -m benchmarks`: measures, prints, and writes benchmarks/RESULTS.md.

Options: --rounds N (default 8), --stages, --overload-s N, --only gateway,accounts,proxy,
ledger,scheduling,metrics,memory,embeddings,chain,audit,pages,crowd,cache,overload. --minutes N: of
the overload, whose memory must reach a plateau. --rows N: of the
audit, which needs a kilobyte of disk for each; --folder keeps its databases for another run.
"""

import argparse
import os
import platform
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import (
    accounts,
    audit,
    cache,
    chain,
    crowd,
    embeddings,
    gateway,
    ledger,
    memory,
    metrics,
    pages,
    proxy,
    scheduling,
    stages,
)
from benchmarks.pairs import Ratio
from tests.support.processes import served
from toolkit.serve.models import public_models

RESULTS = Path(__file__).parent / "RESULTS.md"
REPOSITORY = Path("model_repository").absolute()
PARTS = (
    "gateway", "accounts", "proxy", "ledger", "scheduling", "metrics", "memory", "embeddings",
    "chain", "audit", "pages", "crowd", "cache", "overload",
)  # fmt: skip


def main() -> None:
    """Runs the parts asked for and puts their sections into RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--stages", action="store_true", help="where a first token's time goes")
    parser.add_argument("--overload-s", type=int, default=600, help="seconds of overload")
    parser.add_argument("--minutes", type=float, default=10, help="minutes of overload")
    parser.add_argument("--rows", type=int, default=10_000_000, help="audit records")
    parser.add_argument("--folder", type=Path, help="where the audit's databases are kept")
    options = parser.parse_args()
    parts = options.only.split(",")
    sections = [_machine()]
    if "gateway" in parts:
        sections.append(_gateway())
    if "accounts" in parts:
        sections.append(_accounts())
    if "proxy" in parts:
        ratios = proxy.measure(options.rounds)
        sections.append(_ratios("Everything on, against a bare proxy", proxy, ratios))
    if "ledger" in parts:
        sections.append(_ledger())
    if "crowd" in parts:
        sections.append(_crowd(options.overload_s))
    # not twice: the crowd ends with the same overload
    if "overload" in parts and "crowd" not in parts:
        sections.append(_overload(round(60 * options.minutes)))
    if "scheduling" in parts:
        sections.append(_scheduling())
    if "metrics" in parts:
        sections.append(_metrics())
    if "memory" in parts:
        sections.append(_memory())
    if "audit" in parts:
        sections.append(_audit(options.rows, options.folder))
    if "cache" in parts:
        sections.append(_cache())
    if "pages" in parts:
        sections.append(_pages(options.rows, options.folder))
    if options.stages:
        sections.append(_stages())
    elif {"embeddings", "chain"} & set(parts):
        sections += _served(parts, options.rounds)
    print("\n\n".join(sections))
    RESULTS.write_text(_merge(RESULTS.read_text() if RESULTS.exists() else "", sections))


def _merge(old: str, sections: list[str]) -> str:
    """The old text with these sections, each known by its heading, in place of its own.

    What another machine measured is left out: the first section names the one that did.
    """
    before = re.split(r"\n\n(?=## )", old.strip()) if old.startswith(sections[0]) else []
    kept = {section.splitlines()[0]: section for section in (*before, *sections)}
    return "\n\n".join(kept.values()) + "\n"


def _served(parts: list[str], rounds: int) -> list[str]:
    sections = []
    models = {model.kind: model for model in public_models(REPOSITORY)}
    with TemporaryDirectory() as scratch, served(REPOSITORY, Path(scratch, "log")) as service:
        if "embeddings" in parts:
            name = models["embedding"].name
            ratios = embeddings.measure(service.port, name, REPOSITORY, rounds)
            sections.append(_ratios("Embeddings against direct onnxruntime", embeddings, ratios))
        if "chain" in parts:
            ratios = chain.measure(service.port, models["llm"], REPOSITORY, rounds)
            sections.append(_ratios("The chain against vLLM's OpenAI server", chain, ratios))
    return sections


def _stages() -> str:
    model = next(model for model in public_models(REPOSITORY) if model.kind == "llm")
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        copy = stages.stamped(REPOSITORY, folder / "model_repository", folder / "stages")
        with served(copy, folder / "log") as service:
            rows = stages.measure(service.port, model.name, folder / "stages")
    head = ["| stage | median ms | 90 % ms |", "|---|---|---|"]
    return "\n".join(["## Stages of a first token", "", _method(stages), "", *head, *rows])


def _machine() -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    kernel = platform.release().partition("-")[0]  # without the number of its build
    return (
        "# Benchmark results\n\n"
        "Written by `make bench`. Ratios are ours over the peer's: medians over alternating "
        "rounds, with the lowest and the highest round. Compare ratios, not machines.\n\n"
        f"Machine: {os.cpu_count()} cores, {cpu}, Linux {kernel}, "
        f"Python {platform.python_version()}."
    )


def _gateway() -> str:
    rows = [
        f"| {case.what} | {case.in_flight} | {ms:.2f} |"
        f" {'' if case.limit_ms is None else f'{case.limit_ms:.1f}'} |"
        for case, ms in gateway.measure()
    ]
    head = ["| | in flight | CPU ms each | to reach, at most |", "|---|---|---|---|"]
    return "\n".join(["## The gateway's own cost", "", _method(gateway), "", *head, *rows])


def _accounts() -> str:
    rows = [
        f"| {cost.case.what} | {cost.store} | {'yes' if cost.pays else 'no'} |"
        f" {cost.case.in_flight} | {cost.cpu_ms:.2f} | {cost.case.limit_ms:.1f} |"
        for cost in accounts.measure()
    ]
    head = [
        "| | store | credits | in flight | CPU ms each | to reach, at most |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(["## A request with accounts", "", _method(accounts), "", *head, *rows])


def _cache() -> str:
    rows = [f"| {what} | {us:.1f} | {cache.LIMIT_US} |" for what, us in cache.measure()]
    head = ["| | CPU µs each | to reach, at most |", "|---|---|---|"]
    return "\n".join(["## The response cache", "", _method(cache), "", *head, *rows])


def _ledger() -> str:
    rows = [
        f"| {rate.database} | {rate.ledgers} | {rate.in_flight} | {rate.per_s:,.0f} |"
        f" {rate.cpu_ms:.2f} | {rate.wait_ms:.1f} | {rate.locked} |"
        for rate in ledger.measure()
    ]
    head = [
        "| | gateways | in flight | per second | CPU ms each | wait, median ms | lock waits |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(["## Reserve and settle", "", _method(ledger), "", *head, *rows])


def _crowd(seconds: int) -> str:
    streams, over = crowd.measure_streams(), crowd.measure_overload(seconds)
    rows = [
        f"| open at once | {streams.open:,} |",
        f"| tokens that arrived | {streams.tokens:,} |",
        f"| CPU ms for each stream of {crowd.TOKENS} tokens | {streams.cpu_ms:.1f} |",
        f"| MiB before, and with all of them | {streams.mib_before:.0f}, {streams.mib:.0f} |",
    ]
    parts = ["## A crowd", "", _method(crowd), "", "| streams | |", "|---|---|", *rows, ""]
    return "\n".join([*parts, *_held(over)])


def _overload(seconds: int) -> str:
    over = crowd.measure_overload(seconds)
    return "\n".join(["## Memory under overload", "", _method(crowd), "", *_held(over)])


def _held(over: crowd.Overload) -> list[str]:
    """What overload did to the gateway's memory: at the start, by the minute, and at the end."""
    answers = ", ".join(f"{count:,} × {status}" for status, count in sorted(over.statuses.items()))
    shown = {min(over.mib, key=lambda at: abs(at - minute)) for minute in range(0, 36_000, 60)}
    rows = [
        f"| {at} | {mib:.1f} | {over.backlog[at]:,} |"
        for at, mib in over.mib.items()
        if at in shown
    ]
    last, before = over.plateau
    change = f"{last:.1f} MiB in the last third of the time, {before:.1f} in the third before"
    head = ["| seconds | MiB | audit records that wait |", "|---|---|---|"]
    return [f"Overload: {answers}.", "", *head, *rows, "", f"Plateau: {change}."]


def _scheduling() -> str:
    rows = [
        f"| {cost.waiting:,} | {cost.idle:,} | {cost.decision_us:.1f} | {cost.limit_us:.0f} |"
        f" {cost.cycle_us:.1f} |"
        for cost in scheduling.measure()
    ]
    head = [
        "| users who wait | idle | decision, CPU µs | to reach, at most | whole cycle, CPU µs |",
        "|---|---|---|---|---|",
    ]
    return "\n".join(["## A decision of the scheduler", "", _method(scheduling), "", *head, *rows])


def _metrics() -> str:
    rows = [f"| {cost.what} | {cost.files} | {cost.us:.1f} |" for cost in metrics.measure()]
    head = ["| request | figures in | CPU µs each |", "|---|---|---|"]
    return "\n".join(["## Counting a request", "", _method(metrics), "", *head, *rows])


def _audit(rows: int, folder: Path | None) -> str:
    with TemporaryDirectory() as scratch:
        found = audit.measure(rows, folder or Path(scratch))
    lines = [
        f"| {one.what} | {one.database} | {one.p50_ms:.1f} | {one.p95_ms:.1f} | {one.most_ms:.1f} |"
        for one in found
    ]
    head = ["| search | database | p50 ms | p95 ms | most |", "|---|---|---|---|---|"]
    method = _method(audit).replace("ROWS", f"{rows:,}")
    return "\n".join(["## Searching the audit", "", method, "", *head, *lines])


def _pages(rows: int, folder: Path | None) -> str:
    with TemporaryDirectory() as scratch:
        timed = pages.measure(rows, folder or Path(scratch))
    lines = [
        f"| {one.page} | {one.database} | `{one.address}` | {one.p50_ms:.0f} | {one.most_ms:.0f} |"
        for one in timed
    ]
    head = ["| page | database | its slowest answer | p50 ms | most ms |", "|---|---|---|---|---|"]
    method = _method(pages).replace("ROWS", f"{rows:,}")
    return "\n".join(["## Pages", "", method, "", *head, *lines])


def _memory() -> str:
    rows = [f"| {held.requests:,} | {held.mib:.1f} |" for held in memory.measure()]
    head = ["| requests | MiB of its own |", "|---|---|"]
    return "\n".join(["## The gateway's memory", "", _method(memory), "", *head, *rows])


def _ratios(title: str, module: object, ratios: list[Ratio]) -> str:
    head = ["| | ratio [low–high] | ours | peer |", "|---|---|---|---|"]
    rows = [ratio.row() for ratio in ratios]
    return "\n".join([f"## {title}", "", _method(module), "", *head, *rows])


def _method(module: object) -> str:
    return " ".join((module.__doc__ or "").split())


if __name__ == "__main__":
    main()
