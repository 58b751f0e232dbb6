"""Checks of the machine itself: platform, processor, memory, shared memory, disks."""

from collections.abc import Iterator
from pathlib import Path

from toolkit.doctor.finding import error, ok, size, warning
from toolkit.finding import Finding
from toolkit.machine import Machine, cores, memory_bytes

_GIB = 2**30
LEAST_MEMORY = 4 * _GIB
GOOD_MEMORY = 8 * _GIB
LEAST_SHM = 64 * 2**20
"""The default of container engines. A stub uses 1 MiB at start and more for each tensor."""
GOOD_SHM = _GIB
LEAST_DISK = 2 * _GIB
GOOD_DISK = 8 * _GIB
"""Both environments, the Triton runtime and the default models take about 6 GB."""
_SHM = "/dev/shm"  # noqa: S108
_CPUINFO = "/proc/cpuinfo"


def platform(machine: Machine, target: str) -> Iterator[Finding]:
    """The embedded Triton needs Linux on x86-64 with glibc 2.35."""
    what = f"{machine.system} {machine.architecture}"
    if target != "embedded":
        yield ok("platform", f"{what}; Triton runs in a container")
    elif (machine.system, machine.architecture) != ("Linux", "x86_64"):
        yield error(
            "platform",
            f"{what}: the embedded Triton runs on Linux x86_64 only",
            "run toolkit build-repo --target container, and serve it with a Triton container",
        )
    else:
        yield from _glibc(machine, what)


def _glibc(machine: Machine, what: str) -> Iterator[Finding]:
    ran = machine.run("ldd", "--version")
    # "ldd (Debian GLIBC 2.36-9) 2.36": musl's ldd prints another text and fails
    words = ran.output.splitlines()[0].split() if ran and ran.output.strip() else []
    version = words[-1] if words else ""
    parts = version.split(".")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        yield warning(
            "platform",
            f"{what}, C library unknown (musl?): the embedded Triton needs glibc 2.35",
            "use a distribution with glibc: Debian 12, Ubuntu 22.04, RHEL 10 or newer",
        )
    elif (int(parts[0]), int(parts[1])) < (2, 35):
        yield error(
            "platform",
            f"{what}, glibc {version}: the embedded Triton needs 2.35 or newer",
            "use Debian 12, Ubuntu 22.04 or newer, or build with --target container",
        )
    else:
        yield ok("platform", f"{what}, glibc {version}")


def processor(machine: Machine) -> Iterator[Finding]:
    """The instruction sets that vLLM and ONNX Runtime use on a CPU."""
    count = cores(machine)
    if machine.architecture != "x86_64":
        yield ok("processor", f"{count} processors ({machine.architecture})")
        return
    cpuinfo = machine.read(_CPUINFO)
    if cpuinfo is None:
        yield ok("processor", f"{count} processors")
        return
    flags = set(next((row for row in cpuinfo.splitlines() if row.startswith("flags")), "").split())
    # the kernel's names of the flags
    names = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "BF16", "amx_tile": "AMX"}
    has = ", ".join(name for flag, name in names.items() if flag in flags)
    text = f"{count} processors with {has or 'neither AVX2 nor AVX-512'}"
    if "avx2" not in flags:
        yield error(
            "processor",
            f"{text}: vLLM needs AVX2 on a CPU",
            "use a newer CPU or a GPU for language models; in a virtual machine, pass the host's "
            "CPU features through (qemu: -cpu host)",
        )
    elif "avx512f" not in flags:
        yield warning(
            "processor",
            f"{text}: language models run in float32 and use twice the memory",
            "use a CPU with AVX-512 for bfloat16, or smaller models",
        )
    else:
        yield ok("processor", text)
    if count < 2:
        yield warning(
            "processors",
            "one processor: the models, the gateway and Triton share it",
            "give this machine or container at least 2 processors",
        )


def memory(machine: Machine) -> Iterator[Finding]:
    """Free memory, within the limit of the container."""
    memory = memory_bytes(machine)
    limit = " (this container's limit)" if memory.limited else ""
    text = f"{size(memory.available_bytes)} of {size(memory.total_bytes)}{limit} are free"
    if memory.available_bytes < LEAST_MEMORY:
        yield error(
            "memory",
            f"{text}; the default models need about {size(LEAST_MEMORY)}",
            "stop other programs, raise the limit, or run `toolkit fit` to see which models fit",
        )
    elif memory.available_bytes < GOOD_MEMORY:
        yield warning(
            "memory",
            f"{text}; this is enough only for small models",
            "run `toolkit fit`, or set a smaller `kv_cache_memory_bytes` in `engine_args`",
        )
    else:
        yield ok("memory", text)


def shared_memory(machine: Machine) -> Iterator[Finding]:
    """Triton passes every tensor of the Python backend through /dev/shm."""
    if machine.system != "Linux":
        return
    disk = machine.disk(_SHM) if machine.exists(_SHM) else None
    if disk is None:
        yield error(
            _SHM,
            f"{_SHM} does not exist; Triton's Python backend needs it for tensors",
            f"mount it: mount -t tmpfs -o size=2g tmpfs {_SHM}",
        )
        return
    total, free = disk
    text = f"{size(free)} of {size(total)} are free"
    fix = f"mount -o remount,size=2g {_SHM}; for containers: --shm-size 2g, or --ipc host"
    if free < LEAST_SHM:
        yield error(_SHM, f"{text}: models fail to start or crash with a bus error", fix)
    elif free < GOOD_SHM:
        yield warning(_SHM, f"{text}: large batches and images may not fit", fix)
    else:
        yield ok(_SHM, text)


def disks(machine: Machine, home: Path, repository: Path) -> Iterator[Finding]:
    """Free space for downloads, environments, weights and the repository."""
    yield from _disk(
        machine, "disk", home, "free space there, or set TRITON_TOOLKIT_HOME to a larger disk; "
        "`toolkit cache prune` removes unused files"
    )  # fmt: skip
    here = str(repository.absolute().parent)
    # total and free bytes stand for the file system: two with equal ones are not expected
    if (disk := machine.disk(here)) and disk != machine.disk(str(home)):
        yield warning(
            "repository",
            f"{here} and {home} are on different file systems, so weights are copied, not linked",
            "put both on one file system with --output or TRITON_TOOLKIT_HOME",
        )
        yield from _disk(machine, "repository-disk", Path(here), "choose another --output")


def _disk(machine: Machine, code: str, folder: Path, fix: str) -> Iterator[Finding]:
    disk = machine.disk(str(folder))
    if disk is None:
        yield error(code, f"{folder} cannot be read", "choose an existing folder")
        return
    text = f"{size(disk[1])} of {size(disk[0])} are free for {folder}"
    if disk[1] < LEAST_DISK:
        yield error(code, text, fix)
    elif disk[1] < GOOD_DISK:
        yield warning(code, f"{text}; the first start needs about 6 GB", fix)
    else:
        yield ok(code, text)
