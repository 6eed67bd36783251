"""`dianoia report`: writes the HTML report of a run."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dianoia.cli.run import Commands


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser("report", help="write the HTML report of a run")
    parser.add_argument("run", type=Path, help="a run directory")
    parser.set_defaults(command=lambda arguments: report(arguments.run))


def report(run: Path) -> None:
    """Write `report.html` into a run directory and print its path; name each file that is damaged."""
    from dianoia.report import write_report
    from dianoia.storage.run_directory import RunDirectory

    # A report of a damaged run shows what can be read, so damage is no error here.
    path = write_report(
        RunDirectory(run),
        lambda damage: print(f"dianoia: could not be read: {damage}", file=sys.stderr),
    )
    print(f"report: {path.resolve()}")
