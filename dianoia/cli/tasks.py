"""`dianoia tasks` and `dianoia tasks check`: the problem sets, and whether their gold answers are right."""

import argparse
from typing import TYPE_CHECKING

from dianoia.cli.output import print_json

if TYPE_CHECKING:
    from dianoia.cli.run import Commands


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
        help="files, folders, hub names, recipes (TOML) or built-in sets; none: every built-in set",
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

    from dianoia.cli.task_listing import graded_table, show_graded
    from dianoia.recipe.check.gold_answers import graded_sets
    from dianoia.tasks.catalog import read_tests

    tests = read_tests(arguments.against)
    sets = graded_sets(arguments.names, arguments.mapping, arguments.split)
    if arguments.json:
        tables = [graded_table(name, rows, arguments.most, tests) for name, rows in sets]
        print_json(tables)
        return 0 if all(table["all_right"] for table in tables) else 1
    # A list, not a generator: every set is graded and printed, also after one with an error.
    all_right = [
        show_graded(name, rows, Console(soft_wrap=True), arguments.most, tests)
        for name, rows in sets
    ]
    return 0 if all(all_right) else 1
