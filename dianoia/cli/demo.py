"""`dianoia demo`: the miniature from base model to R1, with its report; needs no clone."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from dianoia.cli.output import print_json
from dianoia.cli.rank_options import add_rank_options

if TYPE_CHECKING:
    from dianoia.cli.run import Commands

_WHOLE, _QUICK = "miniature-r1", "miniature-zero"
"""Recipes of the demo."""


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "demo", help="run the whole of R1 in miniature on this machine and write its report"
    )
    parser.description = (
        "Runs the recipe miniature-r1, 22 stages in a quarter of an hour on two cores, and writes the report. The same command "
        "resumes an interrupted demo."
    )
    parser.add_argument(
        "--quick", action="store_true", help="R1-Zero alone (the recipe miniature-zero), minutes"
    )
    parser.add_argument(
        "--out", type=Path, help="the run directory (default: runs/NAME of the recipe)"
    )
    add_rank_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what would run, and stop")
    parser.add_argument(
        "--json", action="store_true", help="print the results, or the plan, as JSON"
    )
    parser.set_defaults(command=demo)


def demo(arguments: argparse.Namespace) -> None:
    """Run or resume the demo, write its report, and say what to do next."""
    from dianoia.cli.run import RunOptions, execute
    from dianoia.report import write_report
    from dianoia.storage.run_directory import RunDirectory

    name = _QUICK if arguments.quick else _WHOLE
    # Two stages at the same time where there are two cores: a process of this small a model keeps one core busy.
    options = RunOptions(
        recipe=Path(name),
        out=arguments.out,
        jobs=0,
        ranks=arguments.ranks,
        gpus=arguments.gpus,
        dry_run=arguments.dry_run,
        json=arguments.json,
    )
    (outcome,) = execute(options)
    if arguments.dry_run:
        if arguments.json:
            print_json(outcome)
        return
    run = arguments.out or Path("runs", name)
    report = write_report(RunDirectory(run)).resolve()
    chat = f"dianoia chat {shlex.quote(str(run))}"
    if arguments.json:
        print_json({**outcome, "report": str(report), "chat": chat})
        return
    print(f"\nread the report:  {report}\ntalk to it:       {chat}")
