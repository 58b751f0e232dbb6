"""Makes the Python environments of models inside Triton, from pinned locks with hashes.

An environment is named by the digest of its lock, so an upgrade makes a new one beside the old. It
is complete or absent. Why there are several: docs/decisions/0002-environments.md.
"""

import hashlib
import os
import re
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path

from toolkit.atomic import ensure_in_place
from toolkit.errors import SetupError, UsageError
from toolkit.home import home
from toolkit.machine.local import library_folders
from toolkit.progress import Progress, silent
from toolkit.wheels import run_pip

NAMES = ("onnx", "vllm")
CUDA = {name: f"{name}-cuda" for name in NAMES}
"""Environment → the one that replaces it for models on NVIDIA GPUs."""
OWN = "own-"
"""What the names of environments begin with that users' models ask for."""
REQUIREMENTS = "requirements.txt"
_TORCH = "torch==2.13.0"
_NUMPY = "numpy==1.26.4"  # the stub was built for numpy 1
_LINK_FOLDER = ".environments"
MODEL_LOGS = "TRITON_TOOLKIT_MODEL_LOGS"
"""Environment variable of Triton: the folder of the models' logs."""
_SPLIT = f"""\
# triton-toolkit: the output of a model's processes goes to its own log
if [ -d "${{{MODEL_LOGS}:-}}" ]; then
    toolkit_model="${{BASH_EXECUTION_STRING#*triton_python_backend_stub }}"
    toolkit_model="${{toolkit_model%%/model.py *}}"
    toolkit_model="${{toolkit_model%/*}}"
    exec >>"${MODEL_LOGS}/${{toolkit_model##*/}}.log" 2>&1
fi
"""


def ensure_environment(name: str, progress: Progress = silent) -> Path:
    """Returns the folder of environment `name`, installing it the first time.

    Raises SetupError when there is no such environment or this machine's Python cannot serve as
    its base, SourceError when packages cannot be fetched.
    """
    known = (*NAMES, *CUDA.values())
    if name not in known:
        raise UsageError(
            f"the environment '{name}' does not exist",
            hint=f"known environments: {', '.join(known)}",
        )
    lock = resources.files("toolkit.runtime").joinpath("locks", f"{name}.lock").read_text()
    # the Python version as well: compiled packages of one do not load in another
    digest = hashlib.sha256(f"{sys.version_info[:2]}\n{lock}".encode()).hexdigest()[:12]
    root = home() / "environments" / f"{name}-{digest}"
    return ensure_in_place(
        root, _environment(lambda: _install_packages(name, lock, root, progress))
    )


def own_name(requirements: Sequence[str]) -> str:
    """The name of the environment with these requirements: the same lines, the same environment."""
    # toolkit/kinds/python.py computes the same name for the config
    text = "\n".join(sorted(requirements))
    return f"{OWN}{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def ensure_own_environment(requirements: Sequence[str], progress: Progress = silent) -> Path:
    """Returns the folder of an environment with numpy 1 and these pinned requirements.

    Raises as `ensure_environment`. What they need in turn is resolved when it is made.
    """
    name = own_name(requirements)
    root = home() / "environments" / f"{name}-py{sys.version_info.major}{sys.version_info.minor}"
    return ensure_in_place(
        root, _environment(lambda: _install_own(name, requirements, root, progress))
    )


def _install_own(name: str, requirements: Sequence[str], root: Path, progress: Progress) -> None:
    python = ["--python", str(root / "bin" / "python")]
    with progress.step(f"environment {name}: {', '.join(requirements)}", unit="bytes") as step:
        run_pip([*python, "install", "--only-binary", ":all:", _NUMPY, *requirements], step=step)


def _requirements(repository: Path, name: str) -> list[str]:
    """What the models say that run in the environment `name`."""
    for file in sorted(repository.glob(f"*/{REQUIREMENTS}")):
        lines = file.read_text(encoding="utf-8").split()
        if own_name(lines) == name:
            return lines
    raise SetupError(
        f"no model of {repository} declares the packages of the environment '{name}'",
        hint="toolkit build-repo",
    )


def link_environments(
    repository: Path, progress: Progress = silent, *, cuda: bool = False
) -> list[Path]:
    """Makes every environment that the repository's configs name, and links it to the named path.

    The links are in `repository/.environments/`, so that no config carries an absolute path; with
    `cuda` they lead to the CUDA build of each environment.
    """
    linked = []
    for name in sorted(_named_environments(repository)):
        if name.startswith(OWN):
            root = ensure_own_environment(_requirements(repository, name), progress)
        else:
            root = ensure_environment(CUDA[name] if cuda else name, progress)
        with suppress(OSError):  # made before this was done, and in an image it is read-only
            _split_logs(root)
        link = repository / _LINK_FOLDER / name
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink() or link.readlink() != root:
            # renamed over the old link: a server that starts now finds one of the two
            fresh = link.with_name(f".{name}.{os.getpid()}")
            fresh.symlink_to(root)
            fresh.replace(link)
        linked.append(root)
    return linked


def _split_logs(root: Path) -> None:
    """Lets the environment's models log to files of their own, if Triton was started with
    MODEL_LOGS.

    Triton runs `bash -c "source ENVIRONMENT/bin/activate && exec env … STUB MODEL/1/model.py …"`
    (python backend, stub_launcher.cc), so the script can tell the model from its own command.
    """
    activate = root / "bin" / "activate"
    text = activate.read_text(encoding="utf-8")
    if _SPLIT not in text:
        # replaced, not appended to: bash of a model that starts now may be reading it
        fresh = activate.with_name(f".activate.{os.getpid()}")
        fresh.write_text(f"{text}\n{_SPLIT}", encoding="utf-8")
        fresh.replace(activate)


def uses_cuda(repository: Path) -> bool:
    """Whether the links of a repository that is being served lead to environments for CUDA."""
    links = [repository / _LINK_FOLDER / name for name in NAMES]
    return any(link.is_symlink() and "-cuda-" in link.readlink().name for link in links)


def _named_environments(repository: Path) -> set[str]:
    pattern = re.compile(rf"\$\$TRITON_MODEL_DIRECTORY/\.\./{re.escape(_LINK_FOLDER)}/([\w-]+)\"")
    configs = repository.glob("*/config.pbtxt")
    return {name for config in configs for name in pattern.findall(config.read_text())}


def _environment(install: Callable[[], None]) -> Callable[[Path], None]:
    """Makes a venv that the stub can run in, then installs its packages."""

    def make(root: Path) -> None:
        library = _libpython()
        # without pip: pip of the toolkit installs into it with `--python`
        venv.create(root, symlinks=True)
        (root / "lib" / library.name).symlink_to(library)
        install()
        _split_logs(root)

    return make


def _install_packages(name: str, lock: str, root: Path, progress: Progress) -> None:
    pins = [line.split(" ")[0] for line in lock.splitlines() if re.match(r"[a-z0-9]", line)]
    python = ["--python", str(root / "bin" / "python")]
    with tempfile.TemporaryDirectory() as scratch:
        constraints = Path(scratch, "constraints.txt")
        constraints.write_text("\n".join(pins))
        locked = Path(scratch, "lock.txt")
        locked.write_text(lock)
        # torch goes first and by itself: which build for the CPU it is is pip's configuration, so
        # its hash cannot be pinned; the lock then does not contain torch and needs no dependencies.
        # The locks for CUDA contain it: its hash only allows PyPI's build.
        if _TORCH not in pins:
            with progress.step(f"environment {name}: {_TORCH}", unit="bytes") as step:
                run_pip([*python, "install", "-c", str(constraints), _TORCH], step=step)
        with progress.step(f"environment {name}: {len(pins)} packages", unit="bytes") as step:
            run_pip(
                [*python, "install", "--no-deps", "--require-hashes", "-r", str(locked)], step=step
            )


def _libpython() -> Path:
    """The base interpreter's shared library: the stub loads it, and prefers `<environment>/lib`.

    Without the link the stub would take any libpython of the system, with another standard library.
    """
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    for folder in library_folders():
        if (folder / name).exists():
            return (folder / name).resolve()
    raise SetupError(
        f"{name} is not installed, and Triton's Python backend requires it",
        hint=f"install it (Debian, Ubuntu: apt-get install {name.split('.so', maxsplit=1)[0]})",
    )
