"""Reports the progress of long work, independent of how it is shown.

A `Progress` is passed as an argument: `cli` passes one that draws bars, tests and libraries pass
`silent`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Step(Protocol):
    """One running piece of work; amounts are in the unit that the step was opened with."""

    def advance(self, amount: float = 1) -> None: ...

    def total(self, amount: float) -> None: ...

    def note(self, text: str) -> None: ...


class Progress(Protocol):
    """Opens steps. `unit` is `bytes`, or a plural noun; `total` is None while it is unknown."""

    def step(
        self, title: str, *, total: float | None = None, unit: str = "steps"
    ) -> AbstractContextManager[Step]: ...


class _SilentStep:
    def advance(self, amount: float = 1) -> None: ...

    def total(self, amount: float) -> None: ...

    def note(self, text: str) -> None: ...


class _Silent:
    @contextmanager
    def step(self, title: str, **_: object) -> Iterator[Step]:  # noqa: ARG002
        yield _SilentStep()


silent: Progress = _Silent()
