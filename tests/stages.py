"""Which stage a test belongs to, how workers share the stages, and the time of each at the end.

Nobody marks a test. Where an engine runs is a matter of the folder. Of the others a test is `pure`
when neither it nor any of its fixtures calls what starts a service or prepares an environment.
Tests of one file stay on one worker, so that no fixture is made twice, as do those of some folders
(TOGETHER). All tests with a vLLM engine stay on one, so that no second engine runs beside it.
"""

import functools
import gc
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support.databases import Postgres
from tests.support.echo import EchoTriton
from tests.support.forks import start_frontend
from tests.support.gateway import run_gateway
from tests.support.processes import ROOT, served
from tests.support.redis import RedisServer
from tests.support.triton import serve
from toolkit.runtime.environments import ensure_environment
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.triton import TritonServer

ENGINE = (
    "tests/python_backends/vllm_engine/test_engine_",
    "tests/toolkit/building/test_adapters.py",
    "tests/e2e/",
    "tests/attack/",
)
"""Where a real vLLM engine runs, each about 30 s to start and 1 to 3 GB."""

IMAGES = ("tests/docker/test_images.py",)
"""Where images are built and run: minutes, mostly of one core, the disk and the network."""

STAGES = ("engine", "images", "service", "pure")
"""In the order in which they start: the longest block first, what fills the gaps last."""

TOGETHER = ("tests/python_backends/", "tests/frontend/dashboard/")
"""Folders whose files share what is dear: weights and a Triton with all small models; a browser and
a gateway with its users. On each worker they would be made again."""

_STARTERS = (
    EchoTriton,
    Postgres,
    RedisServer,
    TritonServer,
    ensure_environment,
    ensure_triton,
    run_gateway,
    serve,
    served,
    start_frontend,
)


class Scheduling(LoadScopeScheduling):
    """Hands out files, and everything with an engine as if it were one file, as well as each folder
    of TOGETHER."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if path.startswith(ENGINE):
            return "engine"
        return next((folder for folder in TOGETHER if path.startswith(folder)), path)


class Stages:
    """The pytest plugin: marks and orders tests, adds up their durations."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._counts = dict.fromkeys(STAGES, 0)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Before `-m` is applied."""
        stages = {item: _stage_of(item) for item in items}
        for item, stage in stages.items():
            item.add_marker(stage)
            item.user_properties.append(("stage", stage))
        items.sort(key=lambda item: _rank(item, stages[item]))

    def pytest_collection_finish(self) -> None:
        """What was imported stays, so later collections need not search it: 15 % of pure tests."""
        gc.collect()
        gc.freeze()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Scheduling:
        """For `-n`."""
        config.option.loadscopereorder = False
        return Scheduling(config, log)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In the process that prints the summary, whichever ran the test."""
        stage = dict(report.user_properties).get("stage")
        if isinstance(stage, str):
            self._seconds[stage] += report.duration
            self._counts[stage] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """One line for each stage that ran."""
        terminalreporter.section("time of each stage, added up over the workers")
        for stage in STAGES:
            if count := self._counts[stage]:
                minutes, seconds = divmod(round(self._seconds[stage]), 60)
                terminalreporter.write_line(f"{stage:8} {count:5} tests {minutes:3}:{seconds:02}")


def _stage_of(item: pytest.Item) -> str:
    path = item.path.relative_to(ROOT).as_posix()
    if path.startswith(ENGINE):
        return "engine"
    if path.startswith(IMAGES):
        return "images"
    return "service" if any(map(_starts_service, _functions_of(item))) else "pure"


def _functions_of(item: pytest.Item) -> Iterator[Any]:
    """The test, and each fixture that it uses, directly or not."""
    if isinstance(item, pytest.Function):
        yield item.obj
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            yield from (definition.func for definition in definitions)


@functools.cache
def _starts_service(value: Any) -> bool:
    """Whether a function or class of these tests names something of `_STARTERS`, at any depth."""
    if value in _STARTERS:
        return True
    if not str(getattr(value, "__module__", "")).startswith("tests."):
        return False
    if isinstance(value, type):
        return any(map(_starts_service, filter(inspect.isfunction, vars(value).values())))
    function = inspect.unwrap(value)
    return inspect.isfunction(function) and any(
        _starts_service(function.__globals__[name])
        for name in _names_in(function.__code__)
        if callable(function.__globals__.get(name)) and name != function.__name__
    )


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _rank(item: pytest.Item, stage: str) -> tuple[int, int]:
    """Attacks come last among the engines: until then the other workers may be done."""
    attack = Path("tests/attack") in item.path.relative_to(ROOT).parents
    return STAGES.index(stage), int(attack)
