"""Building and running the images with buildah, on a base made here from Debian packages.

Nothing is pulled, and everything is in one folder. Containers share the host's network.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.processes import ROOT, alive, wait_for
from toolkit.home import home

PACKAGES = "python3,python3-venv,python3-pip,python3-numpy,libpython3.11,ca-certificates,binutils"
TOOLS = ("buildah", "debootstrap")


def missing() -> str | None:
    """Why images cannot be built here."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (docker/install-tools does that on Debian)"
    return None if os.geteuid() == 0 else "only root can make a base image"


@dataclass(frozen=True, slots=True)
class Container:
    """A running container's process."""

    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> int:
        """Asks the container's own process to end; returns its exit code."""
        (main,) = self.inside(depth=1)
        main.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def told(self) -> str:
        """Its output, the ends of its log files, and what each of its processes does."""
        own = self.inside()
        (main,) = own[:1]
        logs = Path(f"/proc/{main.pid}/root{main.environ()['TRITON_TOOLKIT_HOME']}/logs")
        files = [
            f"{file.name}:\n{file.read_text(errors='replace')[-4000:]}"
            for file in logs.rglob("*.log")
        ]
        with contextlib.suppress(psutil.NoSuchProcess):
            files += [
                f"{each.pid} {each.status()} {each.cpu_times()} {each.cmdline()[:2]}"
                for each in own
            ]
        return "\n\n".join([self.log.read_text(), *files])

    def inside(self, depth: int | None = None) -> list[psutil.Process]:
        """The container's processes; `depth` 1 is the entry point alone."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        own = [process for process in below if "buildah" not in process.name()]
        return own[:depth]


@dataclass(frozen=True, slots=True)
class Images:
    """A private store of images below `folder`."""

    folder: Path

    def run(self, *command: str, log: Path | None = None) -> str:
        """One buildah command; its output. The test fails with what it said."""
        argv = self._argv(*command)
        done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=ROOT)
        if log is not None:
            log.write_text(done.stdout + done.stderr)
        assert done.returncode == 0, f"{' '.join(argv)}\n{(done.stdout + done.stderr)[-4000:]}"
        return done.stdout.strip()

    def _argv(self, *command: str) -> list[str]:
        store = ["--root", str(self.folder / "root"), "--runroot", str(self.folder / "run")]
        return ["buildah", *store, *command]

    def make_base(self) -> str:
        """Debian 12 with Python 3.11 and nothing else that the images need, from an earlier run."""
        archive = home() / "images" / f"base-{zlib.crc32(PACKAGES.encode()):08x}.tar"
        if not archive.exists():
            tree, unfinished = self.folder / "tree", archive.with_suffix(f".{os.getpid()}")
            archive.parent.mkdir(parents=True, exist_ok=True)
            options = ["--variant=minbase", f"--include={PACKAGES}"]
            subprocess.run(
                ["debootstrap", *options, "bookworm", str(tree)], check=True, capture_output=True
            )
            tar = ["tar", "-cf", str(unfinished), "--numeric-owner", "-C", str(tree), "."]
            subprocess.run(tar, check=True, capture_output=True)
            unfinished.rename(archive)
        container = self.run("from", "--pull-never", "scratch")
        self.run("add", "--quiet", container, str(archive), "/")
        self.run("commit", "--quiet", container, "localhost/base")
        self.run("rm", container)
        return "localhost/base"

    def remove(self) -> None:
        """Ends what still runs, removes images and containers, and unmounts buildah's folders."""
        for each in psutil.process_iter(["cmdline"]):
            if each.pid != os.getpid() and str(self.folder) in " ".join(each.info["cmdline"] or ()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        self.run("rm", "--all")
        self.run("rmi", "--all", "--force")
        mounted = Path("/proc/mounts").read_text().split()[1::6]
        for path in sorted((p for p in mounted if p.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", path], check=True)

    def commit(self, base: str, name: str, files: dict[Path, str]) -> str:
        """An image of `base` with files and folders added."""
        container = self.run("from", "--pull-never", base)
        for source, target in files.items():
            self.run("copy", "--quiet", container, str(source), target)
        self.run("commit", "--quiet", container, f"localhost/{name}")
        self.run("rm", container)
        return f"localhost/{name}"

    def build(self, name: str, base: str) -> str:
        """The image of docker/NAME.Dockerfile on that base."""
        options = ["--isolation", "chroot", "--pull-never", "--layers=false", "--format", "docker"]
        options += ["--build-arg", f"BASE={base}", *_pip_settings()]
        file = f"docker/{name}.Dockerfile"
        self.run("bud", *options, "-f", file, "-t", f"localhost/{name}", ".")
        return f"localhost/{name}"

    def size_bytes(self, image: str) -> int:
        """What the image takes on disk, its base included."""
        container = self.run("from", "--pull-never", image)
        try:
            mounted = self.run("mount", container)
            done = subprocess.run(
                ["du", "-sb", mounted], check=True, capture_output=True, text=True
            )
            return int(done.stdout.split()[0])
        finally:
            self.run("umount", container)
            self.run("rm", container)

    def config(self, image: str) -> dict[str, object]:
        """User, Entrypoint, Healthcheck and the rest."""
        inspected = json.loads(self.run("inspect", "--type", "image", image))
        config = inspected["Docker"]["config"]
        assert isinstance(config, dict)
        return config

    @contextlib.contextmanager
    def container(
        self, image: str, arguments: list[str], volumes: dict[Path, str], log: Path
    ) -> Iterator[Container]:
        """Runs the image's entry point with `arguments`; volumes are read-only."""
        name = self.run("from", "--pull-never", image)
        entry = self.config(image)["Entrypoint"]
        assert isinstance(entry, list)
        mounts = [f"--volume={path}:{target}:ro" for path, target in volumes.items()]
        command = ["run", "--isolation", "chroot", *mounts, name, "--", *entry, *arguments]
        with log.open("wb") as sink:
            process = subprocess.Popen(self._argv(*command), stdout=sink, stderr=sink)
        container = Container(process, log)
        try:
            yield container
        finally:
            family = container.inside() if process.poll() is None else []
            if process.poll() is None:
                container.stop()
            wait_for(lambda: not any(map(alive, family)), what="the end of the container")
            self.run("rm", name)


def _pip_settings() -> list[str]:
    """This machine's pip configuration, so that builds find packages where it does."""
    settings = subprocess.run(
        ["pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    paths = {Path("/etc/ssl/certs")}
    for word in settings.replace("'", " ").split():
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path.exists():
            # an index on disk has its files beside it
            paths.add(path.parent if word.startswith("file:") else path)
    options = [f"--volume={path}:{path}:ro" for path in sorted(paths)]
    # the user's file where pip looks for every user's: who builds in there has another home
    settings_of = {
        "/etc/pip.conf": Path("/etc/pip.conf"),
        "/etc/xdg/pip/pip.conf": Path("~/.config/pip/pip.conf").expanduser(),
    }
    return options + [
        f"--volume={file}:{target}:ro" for target, file in settings_of.items() if file.exists()
    ]
