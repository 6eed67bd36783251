"""`dianoia tasks` and `dianoia tasks check`: the problem sets, and whether their gold answers are right."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dianoia.cli.output import print_json

if TYPE_CHECKING:
    from dianoia.cli.run import Commands
    from dianoia.config import FileSettings
    from dianoia.tasks.gold_check import Graded


def add_parser(commands: "Commands") -> None:
    """Add both commands and their arguments."""
    parser = commands.add_parser(
        "tasks", help="show the problem sets, and check that gold answers are right"
    )
    parser.description = (
        "Shows the problem sets with samples, the verifiers and the ready mappings."
    )
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.set_defaults(command=lambda arguments: show(arguments.json))
    check_parser = parser.add_subparsers(metavar="check").add_parser(
        "check",
        help="grade gold answers by their own verifiers; exit status 1 if any is not right",
        description="Grades every gold answer with its own verifier and prints those that are not graded as right.",
    )
    check_parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="files, folders, hub names, benchmarks such as humaneval, recipes (TOML) or built-in sets; none: every "
        "built-in set",
    )
    check_parser.add_argument("--mapping", help="a ready mapping of a public set's columns")
    check_parser.add_argument("--split", help="the split of a folder or hub name")
    check_parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="TESTS",
        help="count the problems that share ten words in a row with a test of this set; repeatable",
    )
    check_parser.add_argument(
        "--wrong",
        action="store_true",
        help="also run wrong programs made from each reference program; all of them have to be graded as wrong",
    )
    check_parser.add_argument(
        "--most", type=int, default=100, help="print at most this many rows (default: 100)"
    )
    check_parser.add_argument("--json", action="store_true", help="print the same as JSON")
    check_parser.set_defaults(command=check)


def show(json: bool = False) -> None:
    """Print the problem sets, the verifiers and the mappings."""
    from rich.console import Console

    from dianoia.cli.task_listing import catalogue_table, show_catalogue

    if json:
        print_json(catalogue_table())
        return
    show_catalogue(Console(soft_wrap=True))


def check(arguments: argparse.Namespace) -> int:
    """Grade gold answers and print those that are not right; return 1 if there are any, else 0."""
    from rich.console import Console

    from dianoia.cli.task_listing import (
        graded_sets,
        graded_table,
        show_graded,
        show_wrong,
        wrong_table,
    )
    from dianoia.tasks.catalog import read_tests
    from dianoia.tasks.wrong_check import check_wrong

    tests = read_tests(arguments.against)
    most, console, all_right = arguments.most, Console(soft_wrap=True), True
    benchmarks = {} if arguments.mapping else _benchmarks(arguments.names)
    tables: list[dict[str, Any]] = []
    # Every set is graded and printed, also after one with an error.
    for name, rows in graded_sets(arguments.names, arguments.mapping, arguments.split, benchmarks):
        graded_rows: list[Graded] = []
        yielded_rows = _keep(rows, graded_rows) if arguments.wrong else rows
        if arguments.json:
            tables.append(graded_table(name, yielded_rows, most, tests))
            tables[-1] |= wrong_table(check_wrong(graded_rows), most) if arguments.wrong else {}
            all_right &= tables[-1]["all_right"] and tables[-1].get("all_refused", True)
            continue
        all_right &= show_graded(name, yielded_rows, console, most, tests)
        if arguments.wrong:
            all_right &= show_wrong(name, check_wrong(graded_rows), console, most)
    if arguments.json:
        print_json(tables)
    return 0 if all_right else 1


def _benchmarks(names: Sequence[str]) -> dict[str, "FileSettings"]:
    """Return where the problems of those names are that name a public benchmark, or NAME=FILE, and no file here."""
    from dianoia.evaluation.targets import benchmark_data, is_benchmark

    benchmarks = (name for name in names if is_benchmark(name) and not Path(name).exists())
    return {name: benchmark_data(name, "tasks check") for name in benchmarks}


def _keep(rows: Iterable["Graded"], graded_rows: list["Graded"]) -> Iterator["Graded"]:
    """Yield the rows, and put each into `graded_rows`."""
    for row in rows:
        graded_rows.append(row)
        yield row
