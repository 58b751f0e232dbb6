"""Everything that a GPU host without a network needs, as wheels in one folder (about 6 GB).

`install.sh` beside them makes the environments from the folder alone.
"""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT
from toolkit.runtime.environments import CUDA
from toolkit.runtime.triton import WHEEL

LOCKS = ROOT / "toolkit" / "runtime" / "locks"
_INSTALL = """#!/usr/bin/env bash
# Run in the checkout: makes .venv, Triton and the CUDA environments from the wheels here.
set -euo pipefail
wheels=$(cd "$(dirname "$0")" && pwd)
export PIP_NO_INDEX=1 PIP_FIND_LINKS="$wheels"
python3.11 -m venv .venv
.venv/bin/pip install --no-deps -r "$wheels/toolkit.txt"
.venv/bin/pip install --no-deps --no-build-isolation -e .
.venv/bin/toolkit prepare --cuda
echo "now: PIP_NO_INDEX=1 PIP_FIND_LINKS=$wheels .venv/bin/python -m benchmarks.gpu"
"""


def fetch(folder: Path) -> None:
    """Downloads with pip, and writes `toolkit.txt` and `install.sh`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toolkit.txt").write_text("\n".join(own_packages()) + "\n")
    (folder / "install.sh").write_text(_INSTALL)
    for command in commands(folder):
        print(" ".join(command), flush=True)
        subprocess.run(command, check=True, cwd=ROOT)


def commands(folder: Path) -> list[list[str]]:
    """The pip commands, in order."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder)]
    locks = [
        ROOT / "requirements" / "dev.lock",
        *(LOCKS / f"{name}.lock" for name in CUDA.values()),
    ]
    found = [[*pip, "--require-hashes", "-r", str(lock)] for lock in locks]
    return [*found, [*pip, WHEEL, "setuptools", "wheel", *_models()]]


def own_packages() -> list[str]:
    """The toolkit's own environment on a GPU host: its lock, and torch with CUDA beside it."""
    cuda = pins(LOCKS / "vllm-cuda.lock")
    torch = [pin for pin in cuda if re.match(r"(torch|triton|cuda-|nvidia-)", pin)]
    own = pins(ROOT / "requirements" / "dev.lock")
    names = {pin.partition("==")[0] for pin in own}
    further = [*torch, *(pin for pin in cuda if pin.startswith("setuptools=="))]
    return [*own, *(pin for pin in further if pin.partition("==")[0] not in names)]


def pins(lock: Path) -> list[str]:
    """`name==version` of every package."""
    return re.findall(r"^([a-z0-9][\w.-]*==\S+)", lock.read_text(), re.MULTILINE)


def _models() -> list[str]:
    text = (ROOT / "models.yaml").read_text()
    return re.findall(r"source: package:([^/\s]+)", text)
