"""`dianoia report`: writes the HTML report of a run."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dianoia.cli.output import print_json

if TYPE_CHECKING:
    from dianoia.cli.run import Commands


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser("report", help="write the HTML report of a run")
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("--json", action="store_true", help="print path and damage as JSON")
    parser.set_defaults(command=lambda arguments: report(arguments.run, arguments.json))


def report(run: Path, json: bool = False) -> None:
    """Write `report.html` into a run directory and print its path; name each file that is damaged."""
    from dianoia.report import write_report
    from dianoia.storage.run_directory import RunDirectory

    damaged: list[str] = []

    def warn(damage: str) -> None:
        damaged.append(damage)
        print(f"dianoia: could not be read: {damage}", file=sys.stderr)

    # A report of a damaged run shows what can be read, so damage is no error here.
    path = write_report(RunDirectory(run), warn)
    if json:
        print_json({"report": str(path.resolve()), "damaged": damaged})
        return
    print(f"report: {path.resolve()}")
