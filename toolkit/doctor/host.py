"""Checks of the machine itself: platform, processor, memory, shared memory, disks."""

from collections.abc import Iterator
from pathlib import Path

from toolkit.doctor.finding import Finding, ok, problem, size, warning
from toolkit.machine import Probe, cores, memory_bytes

_GIB = 2**30
LEAST_MEMORY = 4 * _GIB
GOOD_MEMORY = 8 * _GIB
LEAST_SHM = 64 * 2**20
"""The container engines' default; a stub takes 1 MiB when it starts, more with each tensor."""
GOOD_SHM = _GIB
LEAST_DISK = 2 * _GIB
GOOD_DISK = 8 * _GIB
"""Both environments, the Triton runtime and the default catalogue take about 6 GB."""
_SHM = "/dev/shm"  # noqa: S108
_CPUINFO = "/proc/cpuinfo"


def platform(probe: Probe, target: str) -> Iterator[Finding]:
    """The embedded Triton is a Linux x86-64 program of glibc 2.35."""
    what = f"{probe.system} {probe.architecture}"
    if target != "embedded":
        yield ok("platform", f"{what}; Triton runs in a container")
    elif (probe.system, probe.architecture) != ("Linux", "x86_64"):
        yield problem(
            "platform",
            f"{what}: the embedded Triton runs on Linux x86_64 only",
            "toolkit build-repo --target container, and serve that with a Triton container",
        )
    else:
        yield from _glibc(probe, what)


def _glibc(probe: Probe, what: str) -> Iterator[Finding]:
    ran = probe.run("ldd", "--version")
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
        yield problem(
            "platform",
            f"{what}, glibc {version}: the embedded Triton needs 2.35 or newer",
            "use Debian 12, Ubuntu 22.04 or newer, or build with --target container",
        )
    else:
        yield ok("platform", f"{what}, glibc {version}")


def processor(probe: Probe) -> Iterator[Finding]:
    """What vLLM and ONNX Runtime compute with on a CPU."""
    count = cores(probe)
    if probe.architecture != "x86_64":
        yield ok("processor", f"{count} processors ({probe.architecture})")
        return
    text = probe.read(_CPUINFO)
    if text is None:
        yield ok("processor", f"{count} processors")
        return
    flags = set(next((row for row in text.splitlines() if row.startswith("flags")), "").split())
    names = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "BF16", "amx_tile": "AMX"}
    has = ", ".join(name for flag, name in names.items() if flag in flags)
    said = f"{count} processors with {has or 'neither AVX2 nor AVX-512'}"
    if "avx2" not in flags:
        yield problem(
            "processor",
            f"{said}: vLLM on a CPU needs AVX2",
            "serve language models on a newer CPU or a GPU; in a virtual machine, let the host's "
            "CPU through (qemu: -cpu host)",
        )
    elif "avx512f" not in flags:
        yield warning(
            "processor",
            f"{said}: language models compute in float32, at twice the memory",
            "nothing to mend; a CPU with AVX-512 serves bfloat16, or give small models",
        )
    else:
        yield ok("processor", said)
    if count < 2:
        yield warning(
            "processors",
            "one processor: models, gateway and Triton take turns",
            "give this machine or container at least 2 processors",
        )


def memory(probe: Probe) -> Iterator[Finding]:
    """RAM that is free now, within a container's limit."""
    found = memory_bytes(probe)
    limit = " (this container's limit)" if found.limited else ""
    said = f"{size(found.available_bytes)} of {size(found.total_bytes)}{limit} are free"
    if found.available_bytes < LEAST_MEMORY:
        yield problem(
            "memory",
            f"{said}; the default catalogue takes about {size(LEAST_MEMORY)}",
            "end other programs, raise the limit, or see `toolkit fit` for what would fit",
        )
    elif found.available_bytes < GOOD_MEMORY:
        yield warning(
            "memory",
            f"{said}; enough for small models only",
            "see `toolkit fit`; a smaller KV cache (`engine: {kv_cache_memory_bytes: …}`) helps",
        )
    else:
        yield ok("memory", said)


def shared_memory(probe: Probe) -> Iterator[Finding]:
    """Triton passes every tensor of the Python backend through /dev/shm."""
    if probe.system != "Linux":
        return
    disk = probe.disk(_SHM) if probe.exists(_SHM) else None
    if disk is None:
        yield problem(
            _SHM,
            "there is none, and Triton's Python backend passes tensors through it",
            f"mount it: mount -t tmpfs -o size=2g tmpfs {_SHM}",
        )
        return
    total, free = disk
    said = f"{size(free)} of {size(total)} are free"
    remedy = f"mount -o remount,size=2g {_SHM}; for containers: --shm-size 2g, or --ipc host"
    if free < LEAST_SHM:
        yield problem(_SHM, f"{said}: models fail to start, or crash with a bus error", remedy)
    elif free < GOOD_SHM:
        yield warning(_SHM, f"{said}: large batches and images may not fit", remedy)
    else:
        yield ok(_SHM, said)


def disks(probe: Probe, home: Path, repository: Path) -> Iterator[Finding]:
    """Where downloads, environments and weights go, and where the repository stands."""
    yield from _disk(
        probe, "disk", home, "free there, or set TRITON_TOOLKIT_HOME to a larger disk; "
        "`toolkit cache prune` removes what nothing uses"
    )  # fmt: skip
    here = str(repository.absolute().parent)
    if (disk := probe.disk(here)) and disk != probe.disk(str(home)):
        yield warning(
            "repository",
            f"{here} is on another file system than {home}: weights are copied, not linked",
            "put both on one file system, by --output or TRITON_TOOLKIT_HOME",
        )
        yield from _disk(probe, "repository-disk", Path(here), "choose another --output")


def _disk(probe: Probe, check: str, place: Path, remedy: str) -> Iterator[Finding]:
    disk = probe.disk(str(place))
    if disk is None:
        yield problem(check, f"{place} cannot be looked at", "choose a folder that exists")
        return
    said = f"{size(disk[1])} of {size(disk[0])} are free for {place}"
    if disk[1] < LEAST_DISK:
        yield problem(check, said, f"make room: {remedy}")
    elif disk[1] < GOOD_DISK:
        yield warning(check, f"{said}; a first start takes about 6 GB", f"make room: {remedy}")
    else:
        yield ok(check, said)
