"""A file system that is nearly full, for one command: a tmpfs in a mount namespace of its own."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

_RUN = """
mount -t tmpfs -o size=256k tmpfs "$0" || exit
"$@"
ended=$?
find "$0" -type f
exit $ended
"""
_OWN = ("unshare", "--map-root-user", "--mount")


def run_on_small_disk(
    folder: Path, argv: Sequence[str], env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a command while `folder` has 256 KiB; skips where users may not mount.

    Standard output ends with the names of the files that the command left there.
    """
    if subprocess.run([*_OWN, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine has no namespaces of users")
    return subprocess.run(
        [*_OWN, "sh", "-c", _RUN, str(folder), *argv],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
