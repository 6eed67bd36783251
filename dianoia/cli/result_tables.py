"""Tables of results and responses that several commands print, at most 80 columns wide, or the terminal's if that is narrower."""

import argparse
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from dianoia.results.run_results import Run
    from dianoia.storage.estimate import Estimate, Metrics

COLUMNS = 80
_GAP = "  "
_FOLDED_LINES = 6
"""Lines of a thought that are shown when it is folded."""
ACCURACY_NOTE = "accuracy (pass@1) in %, ± the wider half of its 95 % interval"


def say(console: "Console", text: str = "", style: str | None = None, *, wrap: bool = True) -> None:
    """Print a text as it is. `wrap`: break it at the width of the console; else it stays on one line, to be copied."""
    console.print(text, style=style, soft_wrap=not wrap, markup=False, highlight=False, emoji=False)


def make_console(**options: Any) -> "Console":
    """Return a console of at most 80 columns; NO_COLOR and a pipe switch colours off."""
    from rich.console import Console

    console = Console(**options)
    console.width = min(COLUMNS, console.width)
    return console


def holder_text(holder: Mapping[str, Any], run: Path) -> str:
    """Return who is at work in a run, and where that cannot be seen from here, what to do if nobody is."""
    from datetime import datetime

    since, last = (
        f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M}" if text else "never"
        for text in (holder["since"], holder["last_change"])
    )
    process = "a process" if holder["pid"] is None else f"process {holder['pid']}"
    text = f"{process} on {holder['host'] or 'an unknown machine'} since {since}, last file written {last}"
    if holder["is_here"]:
        return text
    return (
        f"{text}. Whether it is alive cannot be seen from this machine; if it has ended, the same `dianoia run` goes on "
        f"at once, and rm {shlex.quote(str(run / '.lock'))} ends the state running"
    )


# Tables of numbers ---------------------------------------------------------------------------------


def print_accuracies(run: "Run", console: "Console") -> None:
    """Print the accuracy of every checkpoint on every domain, and that of the reward models; nothing where there is none."""
    # Bases first, then the stages in their order; a name may go on with "under TEMPLATE".
    order = {name: number for number, name in enumerate(run.stages)}
    names = sorted(run.evaluations, key=lambda name: order.get(name.partition(" ")[0], -1))
    tables = _accuracy_tables(run) if names else []
    for number, (note, metric) in enumerate(tables):
        _print_accuracies(run, names, note if number == 0 else f"\n{note}", metric, console)
    models = [[name, percent(m.get("accuracy"))] for name, m in run.reward_models.items()]
    if models:
        if tables:
            say(console)
        print_columns(["reward model", "accuracy"], models, console)


def _print_accuracies(
    run: "Run", names: Sequence[str], note: str, metric: str, console: "Console"
) -> None:
    """Print a metric of the checkpoints and domains that have it."""
    by_name = {
        name: {d: ms[metric] for d, ms in run.evaluations[name].items() if metric in ms}
        for name in names
    }
    domains = list(dict.fromkeys(d for name in run.evaluations for d in by_name[name]))
    rows = [
        [name, *(percent(values.get(domain)) for domain in domains)]
        for name, values in by_name.items()
        if values
    ]
    say(console, note, "dim", wrap=False)
    print_columns(["checkpoint", *domains], rows, console)


def _accuracy_tables(run: "Run") -> list[tuple[str, str]]:
    """Return note and metric of each table of accuracies: pass@1, then cons@k for each k above 1 that was measured."""
    metrics = {m for domains in run.evaluations.values() for ms in domains.values() for m in ms}
    sizes = sorted(int(m.removeprefix("cons@")) for m in metrics if m.startswith("cons@"))
    return [
        (ACCURACY_NOTE, "pass@1"),
        *((f"majority of {k} samples (cons@{k}) in %", f"cons@{k}") for k in sizes if k > 1),
    ]


def print_levels(run: "Run", names: Sequence[str], console: "Console") -> None:
    """Print the accuracy of checkpoints by level of difficulty; nothing for a domain that has fewer than two levels.

    One checkpoint has a row per domain, several have a table per domain.
    """
    by_name = {name: run.by_difficulty.get(name, {}) for name in names}
    domains = [
        domain
        for domain in dict.fromkeys(d for by_domain in by_name.values() for d in by_domain)
        if any(len(by_domain.get(domain, {})) > 1 for by_domain in by_name.values())
    ]
    if len(names) == 1:
        (name,) = names
        tables = {name: {domain: by_name[name][domain] for domain in domains}}
    else:
        tables = {
            domain: {name: by_name[name][domain] for name in names if domain in by_name[name]}
            for domain in domains
        }
    for title, rows in tables.items():
        if rows:
            note = f"\n{title} by level of difficulty: accuracy (pass@1) in %, intervals in --json"
            say(console, note, "dim")
            _print_levels(rows, console)


def _print_levels(rows: Mapping[str, Mapping[str, "Metrics"]], console: "Console") -> None:
    from dianoia.storage.estimate import level_order

    levels = sorted({level for by_level in rows.values() for level in by_level}, key=level_order)
    cells = [
        [name, *(_value(by_level.get(level, {}).get("pass@1")) for level in levels)]
        for name, by_level in rows.items()
    ]
    print_columns(["level", *levels], cells, console)


def _value(estimate: "Estimate | None") -> str:
    return "" if estimate is None else f"{100 * estimate.value:.1f}"


def percent(estimate: "Estimate | None", scale: float = 100) -> str:
    """Return e.g. `87.1 ±2.0`; empty without an estimate. With `scale` 1 the value is in its own unit."""
    if estimate is None:
        return ""
    value = f"{scale * estimate.value:.1f}"
    if estimate.low is None or estimate.high is None:
        return value
    return (
        f"{value} ±{scale * max(estimate.value - estimate.low, estimate.high - estimate.value):.1f}"
    )


def print_columns(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    console: "Console",
    *,
    numbers: bool = True,
) -> None:
    """Print rows under a header, columns aligned; columns that do not fit follow in a further table under the same first one.

    `numbers`: all columns but the first are aligned on the right.
    """
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for number, columns in enumerate(_blocks(widths, console.width)):
        if number:
            say(console)
        for line, row in enumerate(table):
            cells = [row[0].ljust(widths[0])]
            cells += [
                row[c].rjust(widths[c]) if numbers else row[c].ljust(widths[c]) for c in columns
            ]
            style = "bold" if line == 0 else None
            say(console, _GAP.join(cells).rstrip(), style, wrap=False)


def _blocks(widths: Sequence[int], width: int) -> list[list[int]]:
    """Return the columns, without the first, in blocks that each fit beside the first one; at least one column each."""
    blocks: list[list[int]] = [[]]
    used = widths[0]
    for column, size in enumerate(widths[1:], start=1):
        if blocks[-1] and used + len(_GAP) + size > width:
            blocks.append([])
            used = widths[0]
        blocks[-1].append(column)
        used += len(_GAP) + size
    return blocks


def figures(values: Mapping[str, float]) -> str:
    """Return named figures on one line, such as `step 12  reward 1.65`."""
    return _GAP.join(f"{name} {figure(value)}" for name, value in values.items())


def shortened(text: str, length: int = 40) -> str:
    """Return a text on one line, cut to a length."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def figure(value: float) -> str:
    """Return a count with all its digits, and any other number with four."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"


# Responses -----------------------------------------------------------------------------------------


def add_thoughts(parser: argparse.ArgumentParser) -> None:
    """Add the option `--thoughts`, which `print_response` takes."""
    parser.add_argument(
        "--thoughts",
        choices=("fold", "all", "none"),
        default="fold",
        help="how much of a thought is shown: its first lines, all or none (default: fold)",
    )


def print_response(
    console: "Console", heading: str, thought: str | None, content: str, thoughts: str = "fold"
) -> None:
    """Print a response under its heading: the thought dimmed behind a bar, then what was said.

    `thoughts`: `fold` shows the first lines of a thought, `all` the whole, `none` nothing of it.
    """
    say(console, heading, "bold")
    thought = (thought or "").strip()
    if thought and thoughts != "none":
        lines = thought.splitlines()
        shown = lines if thoughts == "all" else lines[:_FOLDED_LINES]
        for line in shown:
            say(console, f"  │ {line}", "dim")
        if len(shown) < len(lines):
            hidden_count = len(lines) - len(shown)
            say(console, f"  │ … {hidden_count} more line{'s' * (hidden_count > 1)}", "dim")
    for line in content.splitlines():
        say(console, f"  {line}")


def print_pairs(console: "Console", pairs: Iterable[tuple[str, str]]) -> None:
    """Print names with their values below one another, the values aligned; a value stays on one line, to be copied."""
    pairs = list(pairs)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        say(console, f"{name.ljust(width)}  {value}", wrap=False)
