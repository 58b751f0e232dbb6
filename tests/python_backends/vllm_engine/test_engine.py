"""An engine's life without vLLM: arguments, machine, death, rebuilding, giving up."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from python_backends.cores import count_cores, has_avx512
from python_backends.errors import Unavailable
from python_backends.triton import Settings
from python_backends.vllm_engine import engine, machine
from python_backends.vllm_engine.engine import Engine, engine_arguments
from python_backends.vllm_engine.machine import fit_to_cpu


class FakeLLM:
    """As much of AsyncLLM as an engine's life needs."""

    def __init__(self) -> None:
        self.errored = False
        self.ended = False

    def shutdown(self, timeout: float) -> None:
        self.ended = True


class Factory:
    """Makes engines, or fails; remembers them."""

    def __init__(self) -> None:
        self.made: list[FakeLLM] = []
        self.failures = 0
        self.again = threading.Event()
        self.withdrawn = threading.Event()

    def __call__(self, arguments: dict[str, Any]) -> FakeLLM:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("no memory")
        self.made.append(FakeLLM())
        if len(self.made) > 1:
            self.again.set()
        return self.made[-1]


def settings(folder: Path, **parameters: str) -> Settings:
    return Settings("m", folder, {"engine": json.dumps({"model": "weights"}), **parameters})


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Factory:
    made = Factory()
    monkeypatch.setattr(engine, "_make_llm", made)
    monkeypatch.setattr(engine, "Reaper", lambda: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(engine, "Grammars", lambda _: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(engine, "_start_grammars", lambda *_: None)
    monkeypatch.setattr(engine, "_WATCH_INTERVAL_S", 0.01)
    return made


@pytest.fixture
def start(factory: Factory, tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    started: list[Engine] = []
    silent = SimpleNamespace(log_info=str, log_warn=str, log_error=str)

    def run(**parameters: str) -> Engine:
        started.append(Engine(settings(tmp_path, **parameters), silent, factory.withdrawn.set))
        started[-1].start()
        return started[-1]

    yield run
    for each in started:
        each.stop()


def test_paths_are_relative_to_the_version_when_they_exist(tmp_path: Path) -> None:
    assert engine_arguments(settings(tmp_path))["model"] == "weights"
    (tmp_path / "weights").mkdir()
    assert engine_arguments(settings(tmp_path))["model"] == str(tmp_path / "weights")
    with pytest.raises(ValueError, match="'model'"):
        engine_arguments(Settings("m", tmp_path, {"engine": "{}"}))


def test_an_engine_that_dies_is_built_again(start: Callable[..., Engine], factory: Factory) -> None:
    alive = start()
    alive.check()
    factory.failures = 2
    factory.made[0].errored = True
    with pytest.raises(Unavailable, match="stopped"):
        alive.check()
    assert factory.again.wait(10)
    assert factory.made[0].ended
    assert alive.loop.run(current(alive)) is factory.made[1]


def test_an_engine_that_keeps_dying_is_given_up(
    start: Callable[..., Engine], factory: Factory
) -> None:
    doomed = start(restart_limit="2")
    factory.failures = 2
    factory.made[0].errored = True
    assert factory.withdrawn.wait(10)
    with pytest.raises(Unavailable, match="too often"):
        doomed.check()
    assert factory.failures == 0
    assert len(factory.made) == 1


def test_an_engine_that_is_stopped_while_it_restarts_is_not_withdrawn(
    start: Callable[..., Engine], factory: Factory
) -> None:
    ending = start()
    ending._stopping = True
    ending.loop.run(ending._rebuild())
    assert not factory.withdrawn.is_set()


async def current(alive: Engine) -> Any:
    return alive.llm


def test_a_first_start_that_fails_is_told(factory: Factory, tmp_path: Path) -> None:
    factory.failures = 1
    silent: Any = SimpleNamespace(log_info=str)
    fresh = Engine(settings(tmp_path), silent, factory.withdrawn.set)
    with pytest.raises(RuntimeError, match="no memory"):
        fresh.start()
    fresh.stop()


def test_cpus_without_avx512_compute_in_float32(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("OMP_NUM_THREADS", "VLLM_CPU_OMP_THREADS_BIND"):
        monkeypatch.setenv(name, "kept")  # restored afterwards, and a setting of the user's wins
    monkeypatch.setattr(machine, "has_avx512", lambda: False)
    own = {"distributed_executor_backend": machine.EXECUTOR}
    assert fit_to_cpu({"model": "m"}) == {"model": "m", "dtype": "float32", **own}
    chosen = {"dtype": "bfloat16", "distributed_executor_backend": "mp"}
    assert fit_to_cpu(chosen) == chosen
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "awq"}}')
    quantized = fit_to_cpu({"model": str(tmp_path)})
    assert quantized["worker_extension_cls"] == machine.UNPACKING
    monkeypatch.setattr(machine, "has_avx512", lambda: True)
    assert fit_to_cpu({"model": "m"}) == {"model": "m", **own}


def test_what_a_machine_has(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("model name: x\nflags\t\t: fpu avx2 avx512f\n")
    (tmp_path / "old").write_text("flags\t\t: fpu avx2\n")
    assert has_avx512(tmp_path / "new")
    assert not has_avx512(tmp_path / "old")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert count_cores(tmp_path / "cpu.max") == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert count_cores(tmp_path / "cpu.max") >= 1
