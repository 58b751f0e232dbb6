"""Decisions of the supervisor that need no processes."""

from pathlib import Path

import pytest

from toolkit.errors import ServeError
from toolkit.serve.options import ServeOptions
from toolkit.serve.supervisor import Supervisor


class Front:
    """A gateway that does not come up the first two times."""

    def __init__(self) -> None:
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        if self.starts < 3:
            raise ServeError("the gateway did not start")

    def kill(self) -> None: ...


def test_a_gateway_that_hangs_often_never_ends_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    supervisor = Supervisor(ServeOptions(tmp_path), report=said.append)
    pauses: list[float] = []
    monkeypatch.setattr(supervisor._stop, "wait", pauses.append)
    front = Front()
    for _ in range(20):
        supervisor._restart_front(front, "the gateway did not answer")  # type: ignore[arg-type]
    assert front.starts == 20
    assert said.count("the gateway did not start") == 2
    assert pauses[:4] == [0, 1, 4, 9]
    assert max(pauses) == 30


def test_a_triton_that_does_not_stay_up_does(tmp_path: Path) -> None:
    supervisor = Supervisor(ServeOptions(tmp_path), report=lambda _: None)
    for _ in range(5):
        supervisor._count_restart("Triton ended with code 1")
    with pytest.raises(ServeError, match="that was restart 6 in 600 s"):
        supervisor._count_restart("Triton ended with code 1")
