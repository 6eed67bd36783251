"""`dianoia report`: writes the HTML report of a run, or the curves of several seeds."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dianoia.cli.output import print_json

if TYPE_CHECKING:
    from dianoia.cli.run import Commands


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser("report", help="write the HTML report of a run")
    parser.description = (
        "Writes the report of a run into its directory. Several runs of one recipe, one per seed: draws accuracy, thought "
        "length and reflection of an rl stage over its steps, mean and range over the seeds, as a page (seeds.html) and a "
        "picture (seeds.svg)."
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories; several: one per seed")  # fmt: skip
    parser.add_argument(
        "--stage",
        metavar="NAME",
        help="several runs: the rl stage to draw (default: R1-Zero, by the recipe's claims, or the first)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="several runs: where the files go (default: the folder that holds the first run)",
    )
    parser.add_argument("--json", action="store_true", help="print paths and damage as JSON")
    parser.set_defaults(command=lambda arguments: _command(arguments))


def _command(arguments: argparse.Namespace) -> None:
    if len(arguments.runs) > 1:
        report_seeds(arguments.runs, arguments.stage, arguments.out, arguments.json)
        return
    for option, value in (("--stage", arguments.stage), ("--out", arguments.out)):
        if value is not None:
            from dianoia.base.errors import ConfigError

            raise ConfigError(
                f"{option} {value}: it is for several runs, whose curves are drawn together; the report of one run has all its "
                f"stages and is written into its directory. Leave out {option}, or give more runs"
            )
    report(arguments.runs[0], arguments.json)


def report(run: Path, json: bool = False) -> None:
    """Write `report.html` into a run directory and print its path; name each file that is damaged."""
    from dianoia.report import write_report
    from dianoia.storage.run_directory import RunDirectory

    damaged: list[str] = []

    # A report of a damaged run shows what can be read, so damage is no error here.
    path = write_report(RunDirectory(run), damaged.append)
    _name_damage(damaged)
    if json:
        print_json({"report": str(path.resolve()), "damaged": damaged})
        return
    print(f"report: {path.resolve()}")


def report_seeds(
    runs: Sequence[Path], stage: str | None = None, out: Path | None = None, json: bool = False
) -> None:
    """Write the curves of several seeds as a page and a picture, and print their paths; name each file that is damaged."""
    from dianoia.report.seed_curves import write_seed_curves
    from dianoia.storage.run_directory import RunDirectory

    written = write_seed_curves([RunDirectory(run) for run in runs], stage, out)
    _name_damage(written.damaged)
    page, picture = written.page.resolve(), written.picture.resolve()
    if json:
        print_json({"report": str(page), "picture": str(picture), "damaged": list(written.damaged)})
        return
    print(f"report:  {page}\npicture: {picture}")


def _name_damage(damaged: Sequence[str]) -> None:
    for sentence in damaged:
        print(f"dianoia: could not be read: {sentence}", file=sys.stderr)
