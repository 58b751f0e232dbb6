"""What `toolkit serve` computes on, and what it says about it."""

import sysconfig
from pathlib import Path

import pytest

from tests.support.machines import H100, FakeMachine, nvidia
from tests.support.processes import ROOT
from toolkit.building import Built
from toolkit.cli.device import Device, choose_placement
from toolkit.errors import UsageError
from toolkit.machine import Ran
from toolkit.machine.cuda import usable_cuda

HEADER = str(Path(sysconfig.get_path("include"), "Python.h"))
COMPILER = {"cc": Ran(0, "cc 12")}
HOST = FakeMachine(programs=nvidia(H100) | COMPILER, files={HEADER: ""})
REPOSITORY = ROOT / "model_repository"


@pytest.fixture(autouse=True)
def all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_auto_is_the_gpu_that_can_be_used(default_repository: Built) -> None:
    repository = default_repository.output
    told: list[str] = []
    placed = choose_placement(Device.AUTO, repository, HOST, told.append)
    assert placed is not None
    assert placed["smollm2-135m-instruct.engine"]["gpus"] == [0]
    assert any("engine: GPU 0, 90% of its memory" in line for line in told)
    assert choose_placement(Device.CPU, repository, HOST, told.append) is None


def test_auto_is_the_cpu_without_a_word_where_there_is_no_gpu() -> None:
    told: list[str] = []
    assert choose_placement(Device.AUTO, REPOSITORY, FakeMachine(), told.append) is None
    assert told == []


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (FakeMachine(), "nvidia-smi does not list a GPU"),
        (
            FakeMachine(programs=nvidia(H100.replace("580.65.06", "535.1")) | COMPILER),
            "driver 535.1 is older than 580",
        ),
        (FakeMachine(programs=nvidia(H100.replace(" 9.0,", " 7.0,")) | COMPILER), "too old"),
        (FakeMachine(programs=nvidia(H100)), "no C compiler"),
        (FakeMachine(programs=nvidia(H100) | COMPILER), "Python.h is missing"),
    ],
)
def test_cuda_is_refused_with_the_reason_and_auto_says_it(
    machine: FakeMachine, reason: str
) -> None:
    told: list[str] = []
    with pytest.raises(UsageError, match=reason):
        choose_placement(Device.CUDA, REPOSITORY, machine, told.append)
    assert choose_placement(Device.AUTO, REPOSITORY, machine, told.append) is None
    assert not told or reason in told[0]


def test_only_visible_gpus_are_used() -> None:
    two = nvidia(H100, H100.replace("0,", "1,", 1)) | COMPILER
    machine = FakeMachine(programs=two, files={HEADER: ""})
    assert [gpu.index for gpu in usable_cuda(machine, {"CUDA_VISIBLE_DEVICES": "1"}).gpus] == [1]
    assert "CUDA_VISIBLE_DEVICES" in usable_cuda(machine, {"CUDA_VISIBLE_DEVICES": "7"}).reason
