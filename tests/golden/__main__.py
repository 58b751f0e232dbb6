"""Records every transcript again from the real engine: `python -m tests.golden`."""

import asyncio
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from frontend.upstreams.protocol import Call
from frontend.upstreams.triton.client import Triton
from tests.golden.cases import CASES, FOLDER, MODEL, read
from tests.support.echo import running_echo
from tests.support.processes import ROOT
from toolkit.runtime.environments import link_environments


async def record(address: str) -> None:
    """Runs every case against the server at `address`."""
    triton = Triton(address)
    (model,) = [one for one in await triton.models() if one.name == MODEL]
    FOLDER.mkdir(exist_ok=True)
    for name, (dialect, request) in CASES.items():
        reading = read(dialect, request)
        events = triton.generate(model, reading.generation, Call(f"golden-{name}", 120))
        groups = [group async for group in events]
        told = {
            "dialect": dialect,
            "request": request,
            "events": [[asdict(event) for event in group] for group in groups],
            "whole": reading.whole(groups),
            "stream": reading.stream(groups).split("\n\n"),
        }
        text = json.dumps(told, ensure_ascii=False, indent=1)
        (FOLDER / f"{name}.json").write_text(text + "\n")
    await triton.close()


def main() -> None:
    """Builds and serves the default models for it."""
    with TemporaryDirectory() as scratch:
        repository = Path(scratch, "model_repository")
        build = [sys.executable, "-m", "toolkit", "build-repo", "--output", str(repository)]
        subprocess.run(build, check=True, cwd=ROOT)
        link_environments(repository)
        with running_echo(repository, Path(scratch, "triton.log")) as server:
            asyncio.run(record(server.grpc_address))


if __name__ == "__main__":
    main()
