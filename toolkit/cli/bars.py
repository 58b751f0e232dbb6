"""Draws progress on a terminal: bars with rate and time left, with rich."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from toolkit.progress import Progress, Step


@contextmanager
def drawn(console: Console) -> Iterator[Progress]:
    """A Progress that owns the last lines of the terminal until the block ends."""
    bars = Bars(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=16),
        _Amount(),
        TextColumn("[dim]{task.fields[note]}[/]"),
        console=console,
    )
    with bars:
        yield _Bars(bars)


class _Amount(ProgressColumn):
    """How much and how fast, in the task's own unit, and the time left or taken."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = (DownloadColumn(), TransferSpeedColumn())
        self._count = (MofNCompleteColumn(),)
        self._left, self._taken = TimeRemainingColumn(compact=True), TimeElapsedColumn()

    def render(self, task: Task) -> Text:
        parts: list[ProgressColumn] = []
        if task.total is not None:
            parts += self._bytes if task.fields["unit"] == "bytes" else self._count
        known = task.total is not None and not task.finished
        # rich shows -:--:-- for a time left without a total
        parts.append(self._left if known else self._taken)
        texts = [column(task) for column in parts]
        return Text("  ").join(text for text in texts if isinstance(text, Text))


class _Bars:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    @contextmanager
    def step(
        self, title: str, *, total: float | None = None, unit: str = "steps"
    ) -> Iterator[Step]:
        task = self._bars.add_task(title, total=total, unit=unit, note="")
        yield _Bar(self._bars, task)
        done = self._bars.tasks[self._bars.task_ids.index(task)]
        # without a total the bar must get one, or it never counts as finished
        end = done.total if done.total is not None else max(done.completed, 1)
        # not in a `finally`: a step that failed must not look finished
        self._bars.update(task, total=end, completed=end, note="")


class _Bar:
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, amount: float = 1) -> None:
        self._bars.advance(self._task, amount)

    def total(self, amount: float) -> None:
        self._bars.update(self._task, total=amount)

    def note(self, text: str) -> None:
        self._bars.update(self._task, note=text[:48])
