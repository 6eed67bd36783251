"""Progress of stages: one live line per stage in a terminal, plain aligned lines in a log.

A line says which stage it is, how far it has come, how long it has taken, how long it will take, and how good it is:

    [ 7/22] cold-start  1500/1500   0:12            kept 0.333

A stage reports through `Reporter` and never prints itself. `Board` is the display of all stages at work, `Progress` the
line of one. `Relay`, which sends reports to another process, is in `pipeline.stage_process`.
"""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

_LINE_EVERY = 10.0
"""Seconds between two lines of a stage where there is no terminal."""
_COUNT_WIDTH, _TIME_WIDTH, _LEFT_WIDTH = 9, 5, 10
"""Columns of `1500/1500`, of `59:59`, and of `59:59 left`; a longer text moves what follows it."""
_BAR_WIDTHS = (6, 24)
"""Narrowest and widest bar; one that is drawn in 80 columns has the narrowest."""
_OTHER_COLUMNS = 74
"""Columns of a terminal that belong to everything but the bar."""


class Reporter(Protocol):
    """Where a stage reports how far it has come."""

    def set_total(self, total: int) -> None:
        """Correct the total, where it was not known before the stage had read its data."""

    def update(self, done: int, metrics: Mapping[str, float | None]) -> None:
        """Report `done` of the total and some metrics; a metric that is None is left out."""

    def print_line(self, text: str) -> None:
        """Print a line that stays."""


class Silence(Reporter):
    """The reporter of ranks that do not report: all ranks of a stage say the same, and the first says it."""

    def set_total(self, total: int) -> None:
        """Say nothing."""

    def update(self, done: int, metrics: Mapping[str, float | None]) -> None:
        """Say nothing."""

    def print_line(self, text: str) -> None:
        """Say nothing."""


def format_duration(seconds: float) -> str:
    """Format seconds as `m:ss`, or as `h:mm:ss` from an hour on."""
    # Rounded before it is divided: 59.7 s is 1:00, not 0:60.
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class Board:
    """The display of the stages at work. Use as a context manager around them."""

    def __init__(self, console: Console) -> None:
        self.console = console
        narrowest, widest = _BAR_WIDTHS
        bar = max(narrowest, min(widest, console.width - _OTHER_COLUMNS))
        # Metrics get the columns that are left over.
        metrics = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=bar),
            TextColumn("{task.fields[count]}", markup=False),
            _Elapsed(),
            TextColumn("{task.fields[remaining]}", markup=False),
            TextColumn("{task.fields[metrics]}", markup=False, table_column=metrics),
            console=console,
            expand=True,
            transient=True,  # lines that stay are printed above the live ones; nothing live remains at the end
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stage(self, label: str, prefix: str = "") -> "Progress":
        """Add the line of a stage that begins.

        Args:
            label: how its line begins, padded to the width of the longest.
            prefix: what stands before each message of the stage.
        """
        return Progress(self.console, self._bars, label, prefix)

    def print_line(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(text, highlight=False, markup=False)


class _Elapsed(ProgressColumn):
    """Time since a stage began; rich renders it several times per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{format_duration(task.elapsed or 0.0):>{_TIME_WIDTH}}")


class Progress(Reporter):
    """The line of one stage on a `Board`; `close` it when the stage has ended."""

    def __init__(self, console: Console, bars: Bars, label: str, prefix: str = "") -> None:
        self._console, self._bars, self._label, self._prefix = console, bars, label, prefix
        self._total: int | None = None
        self._metrics = ""
        self._start = time.monotonic()
        self._first: tuple[int, float] | None = None
        """Progress and time of the first report. A resumed stage begins in the middle, so speed is measured from here."""
        self._last_line = float("-inf")
        # Blanks as wide as the texts that will come, so that the columns do not move.
        self._task = bars.add_task(
            label, total=None, count=" " * _COUNT_WIDTH, remaining=" " * _LEFT_WIDTH, metrics=""
        )

    @property
    def elapsed(self) -> float:
        """Seconds since the stage began in this command."""
        return time.monotonic() - self._start

    def close(self) -> None:
        """Remove the line from the board."""
        self._bars.remove_task(self._task)

    def done(self, name: str) -> None:
        """Print that the stage is done, with its duration and last metrics."""
        text = f"{name}: done in {format_duration(self.elapsed)}"
        self.print_line(f"{text}  {self._metrics}".rstrip())

    def set_total(self, total: int) -> None:
        """Set the total, see `Reporter`."""
        self._total = total
        self._bars.update(self._task, total=total)

    def update(self, done: int, metrics: Mapping[str, float | None]) -> None:
        """Move the line to `done` of the total, see `Reporter`."""
        # `?`: the stage has not read its data yet.
        count = f"{done}/{'?' if self._total is None else self._total}"
        count = f"{count:>{_COUNT_WIDTH}}"
        remaining = f"{self._remaining(done):>{_LEFT_WIDTH}}"
        elapsed = f"{format_duration(self.elapsed):>{_TIME_WIDTH}}"
        begin = f"{self._label}  {count}  {elapsed}  {remaining}"
        self._metrics = _fit(metrics, self._console.width - len(begin) - 2)
        self._bars.update(
            self._task, completed=done, count=count, remaining=remaining, metrics=self._metrics
        )
        # A terminal has the live line. A log gets a line every few seconds, and always the last one.
        due = time.monotonic() - self._last_line > _LINE_EVERY or done == self._total
        if not self._console.is_terminal and due:
            self._last_line = time.monotonic()
            line = f"{begin}  {self._metrics}".rstrip()
            self._console.print(line, highlight=False, markup=False)

    def print_line(self, text: str) -> None:
        """Print a line that stays, see `Reporter`."""
        self._console.print(f"{self._prefix}{text}", highlight=False, markup=False)

    def _remaining(self, done: int) -> str:
        """Return e.g. `0:30 left`; empty before the second report, and at the end."""
        now = time.monotonic()
        if self._first is None:
            self._first = (done, now)
        # Work of an earlier command and the loading of models before the first report say nothing about speed.
        first, since = self._first
        if self._total is None or done <= first or done >= self._total:
            return ""
        return f"{format_duration((now - since) / (done - first) * (self._total - done))} left"


def _fit(metrics: Mapping[str, float | None], width: int) -> str:
    """Format as many metrics as fit into `width` columns; the first one always."""
    # Whole metrics only: the first digits of a number would be another number.
    line = ""
    for name, value in metrics.items():
        if value is None:
            continue
        longer = f"{line}  {name} {value:.3g}".lstrip()
        if line and len(longer) > width:
            break
        line = longer
    return line
