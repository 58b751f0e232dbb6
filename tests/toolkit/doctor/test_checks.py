"""Each check on machines that pass it and that fail it; every failure has a fix."""

from pathlib import Path

import pytest

from tests.support.machines import GIB, H100, FakeMachine, nvidia
from toolkit.doctor import Setup, check
from toolkit.finding import Finding, Severity
from toolkit.machine import LocalMachine, Ran

PCI = "/sys/bus/pci/devices/0000:01:00.0"
NVIDIA_CARD = {f"{PCI}/vendor": "0x10de\n", f"{PCI}/class": "0x030200\n"}
RUNTIMES = {"docker version": Ran(0, "27.3.1\n"), "docker info": Ran(0, '{"nvidia":{},"runc":{}}')}


def run(machine: FakeMachine, target: str = "embedded") -> dict[str, Finding]:
    findings = check(machine, Setup(target=target, home=Path("/home/me"), repository=Path("/r/m")))
    assert len({finding.code for finding in findings}) == len(findings)
    assert all(finding.fix for finding in findings if finding.severity is not Severity.OK)
    return {finding.code: finding for finding in findings}


def test_a_sound_machine_passes_all_checks() -> None:
    found = run(FakeMachine())
    assert {finding.severity for finding in found.values()} == {Severity.OK}
    assert found["processor"].text == "8 processors with AVX2, AVX-512, BF16"
    assert found["libpython"].text == "/usr/lib/libpython3.11.so.1.0"


BAD: dict[str, tuple[FakeMachine, str, Severity, str, str]] = {
    "arm": (
        FakeMachine(architecture="aarch64"),
        "platform",
        Severity.ERROR,
        "Linux aarch64",
        "--target container",
    ),
    "mac": (
        FakeMachine(system="Darwin", architecture="arm64", files={}),
        "metal",
        Severity.WARNING,
        "does not run on macOS",
        "Linux host",
    ),
    "old glibc": (
        FakeMachine(programs={"ldd": Ran(0, "ldd (GNU libc) 2.31\n")}),
        "platform",
        Severity.ERROR,
        "glibc 2.31",
        "Ubuntu 22.04",
    ),
    "musl": (
        FakeMachine(programs={"ldd": Ran(1, "musl libc (x86_64)\nVersion 1.2\n")}),
        "platform",
        Severity.WARNING,
        "musl",
        "glibc",
    ),
    "avx2 only": (
        FakeMachine(files={"/proc/cpuinfo": "flags : avx avx2\n"}),
        "processor",
        Severity.WARNING,
        "float32",
        "AVX-512",
    ),
    "no avx2": (
        FakeMachine(files={"/proc/cpuinfo": "flags : sse4_2\n"}),
        "processor",
        Severity.ERROR,
        "needs AVX2",
        "-cpu host",
    ),
    "one processor": (
        FakeMachine(files={"/sys/fs/cgroup/cpu.max": "150000 100000\n"}),
        "processors",
        Severity.WARNING,
        "one processor",
        "at least 2",
    ),
    "little memory": (
        FakeMachine(ram=(4 * GIB, 2 * GIB)),
        "memory",
        Severity.ERROR,
        "2.0 GiB of 4.0 GiB",
        "toolkit fit",
    ),
    "a container's limit": (
        FakeMachine(
            files={
                "/sys/fs/cgroup/memory.max": f"{6 * GIB}\n",
                "/sys/fs/cgroup/memory.current": f"{GIB}\n",
            }
        ),
        "memory",
        Severity.WARNING,
        "5.0 GiB of 6.0 GiB (this container's limit)",
        "toolkit fit",
    ),
    "an old container's limit": (
        FakeMachine(files={"/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{3 * GIB}\n"}),
        "memory",
        Severity.ERROR,
        "this container's limit",
        "raise the limit",
    ),
    "docker's shm": (
        FakeMachine(disks={"/dev/shm": (64 * 2**20, 63 * 2**20)}),
        "/dev/shm",
        Severity.ERROR,
        "63 MiB of 64 MiB",
        "--shm-size",
    ),
    "small shm": (
        FakeMachine(disks={"/dev/shm": (GIB, GIB // 2)}),
        "/dev/shm",
        Severity.WARNING,
        "512 MiB",
        "remount",
    ),
    "full disk": (
        FakeMachine(disks={"/home": (100 * GIB, GIB)}),
        "disk",
        Severity.ERROR,
        "1.0 GiB of 100.0 GiB",
        "TRITON_TOOLKIT_HOME",
    ),
    "two disks": (
        FakeMachine(disks={"/r": (90 * GIB, 80 * GIB)}),
        "repository",
        Severity.WARNING,
        "copied, not linked",
        "--output",
    ),
    "other python": (
        FakeMachine(python=(3, 12, 1)),
        "python",
        Severity.ERROR,
        "Python 3.12.1",
        "Python 3.11",
    ),
    "no libpython": (
        FakeMachine(libpython=None),
        "libpython",
        Severity.ERROR,
        "libpython3.11.so.1.0",
        "apt-get install libpython3.11",
    ),
    "taken port": (
        FakeMachine(taken={9000: "Address already in use"}),
        "port",
        Severity.WARNING,
        "127.0.0.1:9000",
        "--port",
    ),
    "amd": (
        FakeMachine(
            files={
                "/dev/kfd": "",
                "/sys/class/drm/card0/device/mem_info_vram_total": str(192 * GIB),
                "/sys/class/drm/card0/device/mem_info_vram_used": str(GIB),
                "/sys/class/drm/card0/device/product_name": "AMD Instinct MI300X\n",
                "/opt/rocm/.info/version": "6.4.1\n",
            }
        ),
        "rocm",
        Severity.WARNING,
        "AMD Instinct MI300X with 192.0 GiB (ROCm 6.4.1)",
        "upstream",
    ),
    "nvidia without driver": (
        FakeMachine(files=NVIDIA_CARD),
        "cuda",
        Severity.WARNING,
        "nvidia-smi is not installed",
        "install NVIDIA driver",
    ),
    "nvidia with a broken driver": (
        FakeMachine(
            files=NVIDIA_CARD,
            programs={"nvidia-smi": Ran(9, "NVIDIA-SMI has failed because it couldn't …\n")},
        ),
        "cuda",
        Severity.WARNING,
        "NVIDIA-SMI has failed",
        "install NVIDIA driver",
    ),
    "busy gpu": (
        FakeMachine(programs=nvidia("0, NVIDIA A100, 81920, 1000, 8.0, 580.1")),
        "cuda.gpu0",
        Severity.WARNING,
        "other programs use the rest",
        "gpu_memory_utilization",
    ),
    "old gpu": (
        FakeMachine(programs=nvidia("0, Tesla V100-SXM2-16GB, 16384, 16000, 7.0, 570.1")),
        "cuda.gpu0",
        Severity.WARNING,
        "too old for CUDA 13",
        "25.06",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_warning_or_error_has_a_fix(name: str) -> None:
    machine, code, severity, text, fix = BAD[name]
    finding = run(machine)[code]
    assert finding.severity is severity
    assert text in finding.text
    assert fix in (finding.fix or "")


def test_a_gpu_host_for_containers() -> None:
    found = run(FakeMachine(programs=nvidia(H100) | RUNTIMES), "container:26.08")
    assert {finding.severity for finding in found.values()} == {Severity.OK}
    assert "H100 80GB HBM3, compute capability 9.0, 79.2 GiB" in found["cuda.gpu0"].text
    assert found["docker"].text == "Docker Engine 27.3.1"
    assert "libpython" not in found  # the container brings its own


def test_the_container_target_is_stricter_about_what_only_it_needs() -> None:
    old = H100.replace("580.65.06", "535.104")
    machine = FakeMachine(
        programs=nvidia(old) | {"docker version": Ran(1, "x\nCannot connect to …\n")}
    )
    assert run(machine)["cuda.driver"].severity is Severity.WARNING
    assert run(machine)["docker"].severity is Severity.OK
    found = run(machine, "container:26.08")
    assert found["cuda.driver"].severity is Severity.ERROR
    assert "Cannot connect" in found["docker"].text
    assert "systemctl start docker" in (found["docker"].fix or "")
    assert run(FakeMachine(), "container:26.08")["docker"].severity is Severity.ERROR
    runc = {"docker version": Ran(0, "27"), "docker info": Ran(0, '{"runc":{}}')}
    blind = run(FakeMachine(programs=nvidia(H100) | runc), "container:26.08")["cuda.containers"]
    assert blind.severity is Severity.ERROR
    assert "nvidia-ctk" in (blind.fix or "")


def test_this_machine_can_be_checked() -> None:
    machine = LocalMachine()
    found = check(machine, Setup.here())
    assert {"platform", "processor", "memory", "disk", "python", "libpython"} <= {
        finding.code for finding in found
    }
    assert machine.run("no-such-program-anywhere") is None
    assert machine.read("/no/such/file") is None
