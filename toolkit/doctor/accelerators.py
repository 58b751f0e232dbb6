"""Checks of accelerators: NVIDIA with driver and container toolkit, AMD, Apple."""

from collections.abc import Iterator

from toolkit.doctor.finding import error, ok, size, warning
from toolkit.finding import Finding
from toolkit.machine import Gpu, Machine, list_gpus
from toolkit.machine.cuda import OLDEST_CAPABILITY, OLDEST_DRIVER, usable_cuda

_NVIDIA_VENDOR, _AMD_VENDOR = "0x10de", "0x1002"
# PCI: VGA, 3D and other display controllers, and processing accelerators
_DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380", "0x1200")


def cuda(machine: Machine, target: str) -> Iterator[Finding]:
    """NVIDIA GPUs, their driver, and whether containers can use them."""
    gpus = [gpu for gpu in list_gpus(machine) if gpu.platform == "cuda"]
    # the embedded server falls back to the CPU, an image's engine does not
    report = error if target != "embedded" else warning
    if not gpus:
        yield from _without_driver(machine, target)
        return
    for gpu in gpus:
        yield _judge(gpu)
    driver = gpus[0].driver or ""
    if driver.partition(".")[0].isdigit() and int(driver.partition(".")[0]) < OLDEST_DRIVER:
        yield report(
            "cuda.driver",
            f"driver {driver}: Triton containers since 25.08 need {OLDEST_DRIVER} or newer",
            f"install NVIDIA driver {OLDEST_DRIVER} or newer, or use an older container release",
        )
    else:
        yield ok("cuda.driver", f"driver {driver}")
    if target == "embedded":
        yield _device(machine)
    yield from _container_toolkit(machine, target)


def _device(machine: Machine) -> Finding:
    """The device that `toolkit serve` uses, and why."""
    # without CUDA_VISIBLE_DEVICES: the service may be started from another shell
    cuda = usable_cuda(machine, {})
    if not cuda.gpus:
        return warning("cuda.serve", f"toolkit serve uses the CPU: {cuda.reason}", cuda.fix)
    names = ", ".join(f"GPU {gpu.index}" for gpu in cuda.gpus)
    return ok("cuda.serve", f"toolkit serve uses {names}; --device cpu uses the CPU")


def _judge(gpu: Gpu) -> Finding:
    code = f"cuda.gpu{gpu.index}"
    capability = ".".join(map(str, gpu.capability)) if gpu.capability else "unknown"
    text = f"{gpu.name}, compute capability {capability}, {size(gpu.free_bytes)} of "
    text += f"{size(gpu.memory_bytes)} free"
    if gpu.capability and gpu.capability < OLDEST_CAPABILITY:
        return warning(
            code,
            f"{text}: too old for CUDA 13, which vLLM and Triton containers use",
            "use container release 25.06 or older, or a Turing GPU or newer",
        )
    # 0 means memory that is shared with the host, which nvidia-smi does not count
    if gpu.memory_bytes and gpu.free_bytes < gpu.memory_bytes // 2:
        return warning(
            code,
            f"{text}: other programs use the rest",
            "list them with nvidia-smi, or lower gpu_memory_utilization; vLLM uses 90 % by default",
        )
    return ok(code, text)


def _without_driver(machine: Machine, target: str) -> Iterator[Finding]:
    if not _has_card(machine, _NVIDIA_VENDOR):
        if target == "embedded":
            yield ok("cuda", "no NVIDIA GPU; models run on the CPU")
        else:
            yield warning(
                "cuda",
                "no NVIDIA GPU; the container runs models on the CPU",
                "use a GPU host, or the embedded target",
            )
        return
    ran = machine.run("nvidia-smi")
    first = ran.output.strip().splitlines()[0] if ran and ran.output.strip() else ""
    reason = f"nvidia-smi: {first}" if first else "nvidia-smi is not installed"
    report = error if target != "embedded" else warning
    yield report(
        "cuda",
        f"NVIDIA GPU without a working driver ({reason})",
        f"install NVIDIA driver {OLDEST_DRIVER} or newer (Debian: nvidia-driver, Ubuntu: "
        "ubuntu-drivers install) and restart; in a container, pass --gpus all",
    )


def _container_toolkit(machine: Machine, target: str) -> Iterator[Finding]:
    ran = machine.run("docker", "info", "--format", "{{json .Runtimes}}")
    if ran is None or ran.code:
        return  # the docker check reports a missing engine
    # CDI gives containers the GPU without a runtime of Docker's
    if '"nvidia"' in ran.output or machine.matching("/etc/cdi/nvidia*"):
        yield ok("cuda.containers", "containers can use the GPU")
        return
    report = error if target != "embedded" else warning
    yield report(
        "cuda.containers",
        "Docker has no NVIDIA runtime, so containers cannot use the GPU",
        "install nvidia-container-toolkit, run `nvidia-ctk runtime configure --runtime docker`, "
        "and restart Docker",
    )


def rocm(machine: Machine) -> Iterator[Finding]:
    """AMD GPUs are reported but not used: NVIDIA's Triton has no ROCm build."""
    gpus = [gpu for gpu in list_gpus(machine) if gpu.platform == "rocm"]
    version = (machine.read("/opt/rocm/.info/version") or "").strip()
    if not gpus and not _has_card(machine, _AMD_VENDOR):
        yield ok("rocm", "no AMD GPU")
        return
    names = ", ".join(f"{gpu.name} with {size(gpu.memory_bytes)}" for gpu in gpus)
    driver = f"ROCm {version}" if version else "ROCm is not installed"
    yield warning(
        "rocm",
        f"{names or 'AMD GPU without its compute driver'} ({driver}): Triton has no ROCm build, so "
        "models run on the CPU",
        "use the CPU, or run vLLM's ROCm image on this host as an upstream of the gateway",
    )


def metal(machine: Machine) -> Iterator[Finding]:
    """Apple GPUs are reported but not used: Triton does not run on macOS."""
    gpus = [gpu for gpu in list_gpus(machine) if gpu.platform == "metal"]
    if not gpus:
        if machine.system == "Darwin":
            yield ok("metal", "this Mac has no Apple silicon GPU")
        return
    yield warning(
        "metal",
        f"{gpus[0].name}: Triton does not run on macOS, and Linux containers cannot use Metal",
        "build and verify repositories here, and serve them on a Linux host",
    )


def _has_card(machine: Machine, vendor: str) -> bool:
    """Whether the PCI bus has a display or compute device of this vendor."""
    for path in machine.matching("/sys/bus/pci/devices/*/vendor"):
        kind = (machine.read(f"{path.rpartition('/')[0]}/class") or "").strip()
        if (machine.read(path) or "").strip() == vendor and kind.startswith(_DISPLAY_CLASSES):
            return True
    return False
