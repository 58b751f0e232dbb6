"""Checks of accelerators: NVIDIA with driver and container toolkit, AMD, Apple."""

from collections.abc import Iterator

from toolkit.doctor.finding import Finding, ok, problem, size, warning
from toolkit.machine import Gpu, Probe, found_gpus
from toolkit.machine.cuda import OLDEST_CAPABILITY, OLDEST_DRIVER, usable_cuda

_NVIDIA_VENDOR, _AMD_VENDOR = "0x10de", "0x1002"
_DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380", "0x1200")


def cuda(probe: Probe, target: str) -> Iterator[Finding]:
    """Every NVIDIA GPU, its driver, and whether containers may use it."""
    gpus = [gpu for gpu in found_gpus(probe) if gpu.platform == "cuda"]
    level = problem if target != "embedded" else warning
    if not gpus:
        yield from _without_driver(probe, target)
        return
    for gpu in gpus:
        yield _judge(gpu)
    driver = gpus[0].driver or ""
    if driver.partition(".")[0].isdigit() and int(driver.partition(".")[0]) < OLDEST_DRIVER:
        yield level(
            "cuda.driver",
            f"driver {driver}: Triton containers since 25.08 need {OLDEST_DRIVER} or newer",
            f"install NVIDIA driver {OLDEST_DRIVER} or newer, or use an older container release",
        )
    else:
        yield ok("cuda.driver", f"driver {driver}")
    if target == "embedded":
        yield _device(probe)
    yield from _container_toolkit(probe, target)


def _device(probe: Probe) -> Finding:
    """What `toolkit serve` computes on, and why."""
    found = usable_cuda(probe, {})
    if not found.gpus:
        return warning(
            "cuda.serve", f"toolkit serve computes on the CPU: {found.reason}", found.fix
        )
    names = ", ".join(f"GPU {gpu.index}" for gpu in found.gpus)
    return ok("cuda.serve", f"toolkit serve computes on {names}; --device cpu does not")


def _judge(gpu: Gpu) -> Finding:
    check = f"cuda.gpu{gpu.index}"
    capability = ".".join(map(str, gpu.capability)) if gpu.capability else "unknown"
    said = f"{gpu.name}, compute capability {capability}, {size(gpu.free_bytes)} of "
    said += f"{size(gpu.memory_bytes)} free"
    if gpu.capability and gpu.capability < OLDEST_CAPABILITY:
        return warning(
            check,
            f"{said}: too old for CUDA 13, which vLLM and Triton containers are built with",
            "use a container release of 25.06 or older, or a GPU of Turing or newer",
        )
    if gpu.memory_bytes and gpu.free_bytes < gpu.memory_bytes // 2:
        return warning(
            check,
            f"{said}: other programs hold the rest",
            "nvidia-smi shows who; vLLM takes 90 % unless gpu_memory_utilization says less",
        )
    return ok(check, said)


def _without_driver(probe: Probe, target: str) -> Iterator[Finding]:
    if not _has_card(probe, _NVIDIA_VENDOR):
        if target == "embedded":
            yield ok("cuda", "no NVIDIA GPU: models run on the CPU")
        else:
            yield warning(
                "cuda",
                "no NVIDIA GPU: in the container, too, models run on the CPU",
                "serve on a GPU host, or use the embedded target",
            )
        return
    ran = probe.run("nvidia-smi")
    said = ran.output.strip().splitlines()[0] if ran and ran.output.strip() else ""
    reason = f"nvidia-smi says: {said}" if said else "there is no nvidia-smi"
    level = problem if target != "embedded" else warning
    yield level(
        "cuda",
        f"an NVIDIA GPU without a working driver ({reason})",
        f"install the NVIDIA driver {OLDEST_DRIVER} or newer (Debian: nvidia-driver, Ubuntu: "
        "ubuntu-drivers install), and restart; in a container, pass --gpus all",
    )


def _container_toolkit(probe: Probe, target: str) -> Iterator[Finding]:
    ran = probe.run("docker", "info", "--format", "{{json .Runtimes}}")
    if ran is None or ran.code:
        return  # no engine: another check tells about that
    if '"nvidia"' in ran.output or probe.matching("/etc/cdi/nvidia*"):
        yield ok("cuda.containers", "containers can use the GPU")
        return
    level = problem if target != "embedded" else warning
    yield level(
        "cuda.containers",
        "Docker does not know the NVIDIA runtime: containers see no GPU",
        "install nvidia-container-toolkit, run `nvidia-ctk runtime configure --runtime docker`, "
        "and restart Docker",
    )


def rocm(probe: Probe) -> Iterator[Finding]:
    """AMD GPUs are seen, and not used: NVIDIA's Triton has no ROCm build."""
    gpus = [gpu for gpu in found_gpus(probe) if gpu.platform == "rocm"]
    version = (probe.read("/opt/rocm/.info/version") or "").strip()
    if not gpus and not _has_card(probe, _AMD_VENDOR):
        yield ok("rocm", "no AMD GPU")
        return
    names = ", ".join(f"{gpu.name} with {size(gpu.memory_bytes)}" for gpu in gpus)
    driver = f"ROCm {version}" if version else "ROCm is not installed"
    yield warning(
        "rocm",
        f"{names or 'an AMD GPU without its compute driver'} ({driver}): Triton has no ROCm "
        "build, so models run on the CPU",
        "serve here on the CPU, or run vLLM's ROCm image on this host and let the gateway use it "
        "as an upstream",
    )


def metal(probe: Probe) -> Iterator[Finding]:
    """Apple's GPUs are seen, and not used: Triton does not run on macOS."""
    gpus = [gpu for gpu in found_gpus(probe) if gpu.platform == "metal"]
    if not gpus:
        if probe.system == "Darwin":
            yield ok("metal", "a Mac without Apple silicon: no Metal to compute with")
        return
    yield warning(
        "metal",
        f"{gpus[0].name}: Triton does not run on macOS, and Linux containers on it see no Metal",
        "build and verify repositories here; serve them on a Linux host",
    )


def _has_card(probe: Probe, vendor: str) -> bool:
    """Whether the PCI bus has a display or compute device of that vendor."""
    for path in probe.matching("/sys/bus/pci/devices/*/vendor"):
        kind = (probe.read(f"{path.rpartition('/')[0]}/class") or "").strip()
        if (probe.read(path) or "").strip() == vendor and kind.startswith(_DISPLAY_CLASSES):
            return True
    return False
