"""README's shell blocks work when they are pasted in order into a bare shell.

Builds and checks run for real, with weights from the cache. `make`, `docker` and `toolkit serve`
are only recorded: tests/e2e and tests/docker run the service and the images.
"""

import os
import re
import subprocess
from pathlib import Path

from docs.words import ROOT

RECORDED = """set -euo pipefail
record() { echo "$*" >> recorded; }
make() { record make "$@"; }
docker() { record docker "$@"; }
toolkit() { if [ "$1" = serve ]; then record toolkit "$@"; else command toolkit "$@"; fi; }
"""


def test_every_block_works_when_pasted(tmp_path: Path) -> None:
    for name in (".venv", "models.yaml", "examples", "docker"):
        (tmp_path / name).symlink_to(ROOT / name)
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    bare = {"PATH": "/usr/bin:/bin", "HOME": os.environ["HOME"]}
    bare |= {key: value for key, value in os.environ.items() if key.startswith("TRITON_TOOLKIT")}
    ran = subprocess.run(
        ["bash", "-c", RECORDED + "\n".join(blocks)],
        cwd=tmp_path,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    recorded = (tmp_path / "recorded").read_text().splitlines()
    started = [line.split()[:2] for line in recorded]
    assert started[:2] == [["make", "serve"], ["make", "test"]]
    assert ["docker", "run"] in started
    assert (tmp_path / "my_repository" / "my-chat" / "config.pbtxt").is_file()
    assert (tmp_path / "gpu_repository" / "emoji" / "config.pbtxt").is_file()
