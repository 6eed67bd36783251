"""Live progress of a stage: one line that moves in a terminal, plain lines in a log."""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

_LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """Shows `figures` of the stage in hand. Use as a context manager around a stage."""

    def __init__(
        self,
        console: Console,
        title: str,
        total: int,
        moved: Callable[[], object] = lambda: None,
    ) -> None:
        """`moved` is called whenever the stage has come further."""
        self.console, self.title, self.total, self.moved = console, title, total, moved
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task(title, total=total, figures="")
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

    def expect(self, total: int) -> None:
        """Correct the total, where it was not known before the stage had read its data."""
        self.total = total
        self._bars.update(self._task, total=total)

    def show(self, done: int, figures: Mapping[str, float | None]) -> None:
        """Move to `done` of the total and show some figures; None is left out."""
        self.moved()
        text = "  ".join(f"{k} {v:.3g}" for k, v in figures.items() if v is not None)
        self._bars.update(self._task, completed=done, figures=text)
        due = time.monotonic() - self._last_line > _LINE_EVERY or done == self.total
        if not self.console.is_terminal and due:
            self._last_line = time.monotonic()
            self.console.print(f"{self.title}  {done}/{self.total}  {text}", highlight=False)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._bars.console.print(text, highlight=False)
