"""`python -m benchmarks.gpu`: the run, or `fetch FOLDER` for what an offline host needs."""

import argparse
import sys
import time
import traceback
from pathlib import Path

from benchmarks.gpu import report
from benchmarks.gpu.fetch import fetch
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.run import Run

BUDGET_S = 480.0


def main() -> int:
    """Returns how many parts failed or had no time."""
    options = _options()
    if options.command == "fetch":
        fetch(options.folder)
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    run = Run(options.device, options.small, options.folder.absolute(), options.budget_s)
    about = {**report.machine(), "device": run.device, "size": "small" if run.small else "full"}
    parts: report.Parts = {}
    for name in options.only.split(","):
        parts[name] = _part(run, name)
        report.write(run.folder, about, parts)  # an interrupted run keeps what it has
        print(f"{name}: {parts[name]}", flush=True)
    print(report.table(about, parts))
    return sum("error" in part or "skipped" in part for part in parts.values())


def _part(run: Run, name: str) -> dict[str, object]:
    if run.left_s <= 0:
        return {"seconds": 0.0, "skipped": f"the {run.budget_s:.0f} s of this run are used up"}
    started = time.monotonic()
    try:
        rows = PARTS[name](run)
    except Exception as error:  # one part that fails must not cost the others
        traceback.print_exc()
        return {"seconds": time.monotonic() - started, "error": f"{type(error).__name__}: {error}"}
    return {"seconds": time.monotonic() - started, "rows": rows}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("command", choices=("run", "fetch"), nargs="?", default="run")
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("gpu-run"), help="results, or wheels of fetch"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes for a machine without a GPU")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
