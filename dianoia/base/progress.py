"""Live progress of stages: a line each that moves in a terminal, plain lines in a log."""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column

_LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""
_WIDTH, _SHARED_WIDTH = 24, 10
"""Of a bar: of a stage alone, and of one among others, where their names take the room of the longest."""


class Reports(Protocol):
    """Where a stage tells how far it has come."""

    def expect(self, total: int) -> None:
        """Correct the total, where it was not known before the stage had read its data."""

    def show(self, done: int, figures: Mapping[str, float | None]) -> None:
        """Move to `done` of the total and show some figures; None is left out."""

    def say(self, text: str) -> None:
        """A line that stays."""


def _bars(console: Console, width: int, transient: bool = False) -> Bars:
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # figures have the room that is left
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=width),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[figures]}", markup=False, table_column=rest),
        console=console,
        expand=True,
        transient=transient,
        disable=not console.is_terminal,
    )


class Progress(Reports):
    """Shows `figures` of a stage. Use as a context manager around it, or `close` it where it shares a `Board`."""

    def __init__(
        self,
        console: Console,
        title: str,
        total: int | None,
        moved: Callable[[], object] = lambda: None,
        board: Bars | None = None,
        prefix: str = "",
    ) -> None:
        """`moved` is called whenever the stage has come further; `prefix` begins every line."""
        self.console, self.title, self.total, self.moved = console, prefix + title, total, moved
        self._prefix, self._bars = prefix, board or _bars(console, _WIDTH)
        self._task = self._bars.add_task(self.title, total=total, figures="")
        self._last_line = 0.0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def close(self) -> None:
        """Take the line away from those of other stages."""
        self._bars.remove_task(self._task)

    def expect(self, total: int) -> None:
        """As `Reports`."""
        self.total = total
        self._bars.update(self._task, total=total)

    def show(self, done: int, figures: Mapping[str, float | None]) -> None:
        """As `Reports`."""
        self.moved()
        text = "  ".join(f"{k} {v:.3g}" for k, v in figures.items() if v is not None)
        self._bars.update(self._task, completed=done, figures=text)
        due = time.monotonic() - self._last_line > _LINE_EVERY or done == self.total
        if not self.console.is_terminal and due:
            self._last_line = time.monotonic()
            line = f"{self.title}  {done}/{self.total}  {text}"
            self.console.print(line, highlight=False, markup=False)

    def say(self, text: str) -> None:
        """As `Reports`."""
        self._bars.console.print(f"{self._prefix}{text}", highlight=False, markup=False)


class Board:
    """Progress of several stages at a time, a line each. Use as a context manager around them."""

    def __init__(self, console: Console) -> None:
        self.console, self._bars = console, _bars(console, _SHARED_WIDTH, transient=True)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stage(self, title: str, prefix: str = "") -> Progress:
        """The line of a stage that begins; nobody knows yet how long it is."""
        return Progress(self.console, title, None, board=self._bars, prefix=prefix)

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, highlight=False, markup=False)
