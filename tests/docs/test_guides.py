"""The guides' commands on accounts work when they are pasted in order into a bare shell.

Each guide gets a new database, and first the groups and users that its text speaks of. Commands
that need a server, Docker, a network or a name that only the reader knows (ID, NAME) are recorded
instead: tests/e2e runs servers, and tests/docs/test_pages.py parses every command.
"""

import re
import subprocess
from pathlib import Path

import pytest

from docs.words import ROOT

RECORDED = """set -euo pipefail
record() { printf '%s ' "$@" >> recorded; echo >> recorded; }
for name in cd createdb curl docker git make ollama promtool prometheus python; do
  eval "$name() { record $name \\"\\$@\\"; }"
done
toolkit() {
  case $1 in
    serve|run|ps|logs|stop|prepare|models|build-repo|verify) record toolkit "$@" ;;
    *) command toolkit "$@" ;;
  esac
}
triton-gateway() {
  case " ${1:-serve} $* " in
    *" ID "*|" serve "*|" -"*|" models "*) record triton-gateway "$@" ;;
    # the databases of the guides are on other machines
    *) env -u TRITON_FRONTEND_DATABASE_URL -u TRITON_FRONTEND_REDIS_URL triton-gateway "$@" ;;
  esac
}
"""
LAB = "triton-gateway organisations create lab\n"
GROUP = "triton-gateway groups create {} --organisation lab\n"
BEFORE = {
    "audit": LAB + GROUP.format("research") + GROUP.format("exams"),
    "database": "",
    "keys": "",
    "limits": "triton-gateway users create ada\n" + LAB + GROUP.format("team"),
    "upstreams": LAB + GROUP.format("clinic"),
}


@pytest.mark.parametrize("guide", BEFORE)
def test_every_block_of_a_guide_works_when_pasted(guide: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "guides" / f"{guide}.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    ran = subprocess.run(
        ["bash", "-c", RECORDED + BEFORE[guide] + "".join(blocks)],
        cwd=tmp_path,
        env={
            "PATH": f"{ROOT / '.venv' / 'bin'}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "KEY": "tt-none",
            "TRITON_FRONTEND_DATA_DIRECTORY": str(tmp_path / "data"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "error:" not in ran.stderr
    assert (tmp_path / "data" / "gateway.db").is_file()
