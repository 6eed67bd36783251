"""`dianoia runs`: the runs of a folder, one line each."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dianoia.cli.output import print_json
from dianoia.cli.result_tables import holder_text, make_console, print_columns, say

if TYPE_CHECKING:
    from dianoia.cli.run import Commands
    from dianoia.results.run_list import RunSummary


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser("runs", help="list the runs of a folder, the latest first")
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("runs"), help="(default: runs)"
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    parser.set_defaults(command=runs)


def runs(arguments: argparse.Namespace) -> None:
    """Print one line per run: folder, seed, state, stages done, best accuracy, when it changed, size."""
    from dianoia.results.run_list import list_runs

    summaries = list_runs(arguments.folder)
    if arguments.json:
        print_json([summary.as_json() for summary in summaries])
        return
    console = make_console()
    if not summaries:
        say(
            console,
            f"{arguments.folder}: no runs; `dianoia run miniature-zero` makes one in a few minutes",
        )
        return
    rows = [_row(summary, arguments.folder) for summary in summaries]
    header = ["run", "seed", "state", "stages", "best", "changed", "size"]
    print_columns(header, rows, console, numbers=False)
    # A reason has no place in a column.
    for summary in summaries:
        if summary.reason is not None and summary.state != "running":
            where = "" if summary.state == "damaged" else f"{summary.state} at "
            say(console)
            say(console, f"{_name(summary, arguments.folder)}: {where}{summary.reason}")
        if summary.holder is not None:
            text = holder_text(summary.holder, summary.path)
            say(console)
            say(console, f"{_name(summary, arguments.folder)}: {text}")


def _name(summary: "RunSummary", folder: Path) -> str:
    return str(summary.path if summary.path == folder else summary.path.relative_to(folder))


def _row(summary: "RunSummary", folder: Path) -> list[str]:
    from dianoia.recipe.plan.number_format import format_bytes

    best = summary.best
    return [
        _name(summary, folder),
        "" if summary.seed is None else str(summary.seed),
        summary.state,
        f"{summary.stages_done}/{summary.stages}",
        "" if best is None else f"{best.domain} {100 * best.value:.1f} % ({best.checkpoint})",
        f"{summary.changed.astimezone():%Y-%m-%d %H:%M}",
        format_bytes(summary.size),
    ]
