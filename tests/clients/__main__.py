"""`python -m tests.clients`: serves the default models, runs each program, prints a table.

Options: `--only NAME,…`; `--slow` also runs what takes gigabytes to install; `--url` uses a service
that runs already. Exits with 1 when a program failed.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from tests.clients.programs import PROGRAMS, Outcome, run
from tests.support.processes import ROOT, served

MODELS = {"CHAT": "smollm2-135m-instruct", "EMBEDDING": "all-minilm-l6-v2"}


def main() -> int:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients")
    parser.add_argument("--only", default="")
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--url")
    options = parser.parse_args()
    only = set(filter(None, options.only.split(",")))
    chosen = [p for p in PROGRAMS if (p.name in only if only else options.slow or not p.slow)]
    with _service(options.url) as url:
        outcomes = [run(program, url, MODELS) for program in chosen]
    _show(outcomes)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


@contextmanager
def _service(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with TemporaryDirectory() as scratch:
        repository = Path(scratch, "model_repository")
        build = [sys.executable, "-m", "toolkit", "build-repo", "--output", str(repository)]
        subprocess.run(build, check=True, cwd=ROOT)
        with served(repository, Path(scratch, "log")) as service:
            yield service.url


def _show(outcomes: list[Outcome]) -> None:
    console = Console()
    table = Table("client", "speaks", "version", "works", "seconds", box=None)
    for outcome in outcomes:
        program = outcome.program
        version = program.packages[-1].partition("==")[2]
        works = "[green]yes" if outcome.passed else "[red]no"
        table.add_row(program.name, program.speaks, version, works, f"{outcome.seconds:.0f}")
    console.print(table)
    for outcome in outcomes:
        if not outcome.passed:
            console.print(f"\n{outcome.program.name}:\n{outcome.output[-4000:]}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
