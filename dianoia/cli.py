"""The commands. Each imports what it needs when it is called, so that `--help` answers at once."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dianoia
from dianoia.base.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from dianoia.base.run import RunDirectory
    from dianoia.recipe import Recipe
    from dianoia.recipe.standing import Choice, Todo

NO_LOCKS = "this file system has no locks, so a second command would not be noticed; start none in this folder"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for gold answers that are not right, 2 for what the user can put right, 130 for Ctrl-C."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int | None] = arguments.command
    try:
        return command(arguments) or 0
    except UserError as error:
        print(f"dianoia: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"dianoia: interrupted; {_goes_on(arguments)}", file=sys.stderr)
        return 130


def _goes_on(arguments: argparse.Namespace) -> str:
    """What to type after Ctrl-C."""
    if getattr(arguments, "force", False) or getattr(arguments, "start", None):
        return "the same command without --force or --from goes on from the last state"
    return "the same command goes on from the last state"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dianoia", description="Trains reasoning models the way DeepSeek-R1 was trained."
    )
    parser.add_argument("--version", action="version", version=dianoia.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a recipe; goes on where it was interrupted")
    run.add_argument("recipe", type=Path, help="a TOML file, see recipes/")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="override a value of the recipe, e.g. --set zero.steps=10 or --set seed=2; repeatable",
    )
    run.add_argument(
        "--out", type=Path, help="the run directory (default: runs/NAME of the recipe)"
    )
    run.add_argument(
        "--seeds",
        type=_seeds,
        default=(),
        metavar="SEED[,SEED]",
        help="one run a seed, each in OUT/seed-N, one after another; then the claims over all of them",
    )
    run.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="STAGE[,STAGE]",
        help="run just these stages; what they read has to be there",
    )
    run.add_argument(
        "--from",
        dest="start",
        metavar="STAGE",
        help="run this stage and all that depend on it again, from nothing",
    )
    run.add_argument(
        "--force",
        action="store_true",
        help="run again, from nothing, what would be skipped or gone on with; with --only, just those",
    )
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="check the recipe, print its arithmetic and what would run, and stop",
    )
    run.set_defaults(command=_run)
    report = commands.add_parser("report", help="write the HTML report of a run")
    report.add_argument("run", type=Path, help="a run directory")
    report.set_defaults(command=_report)
    claims = commands.add_parser(
        "claims", help="the paper's claims in one run, or over several seeds"
    )
    claims.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="run directories of one recipe, a seed each",
    )
    claims.add_argument("--markdown", action="store_true", help="tables in Markdown")
    claims.set_defaults(command=_claims)
    _add_tasks(
        commands.add_parser("tasks", help="the problem sets, and whether gold answers are right")
    )
    return parser


def _add_tasks(tasks: argparse.ArgumentParser) -> None:
    tasks.description = "Shows the problem sets with samples, the verifiers and the ready mappings."
    tasks.set_defaults(command=_tasks)
    check = tasks.add_subparsers(metavar="check").add_parser(
        "check",
        help="grade gold answers by their own verifiers; exit status 1 where any is not right",
        description="Grades every gold answer with its own verifier and prints what does not come out as right.",
    )
    check.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="files, folders, hub names, recipes (TOML) or built-in sets; none: every built-in set",
    )
    check.add_argument("--mapping", help="a ready mapping of a public set's columns")
    check.add_argument("--split", help="the split of a folder or hub name")
    check.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="TESTS",
        help="count the problems that share ten words in a row with a test of this set; repeatable",
    )
    check.add_argument("--most", type=int, default=100, help="rows that are printed (default: 100)")
    check.set_defaults(command=_check_tasks)


def _seeds(text: str) -> tuple[int, ...]:
    """`1,2,3` as numbers; raises ArgumentTypeError for anything else."""
    words = [word.strip() for word in text.split(",")]
    seeds = tuple(int(word) for word in words if word.isascii() and word.isdigit())
    if len(seeds) < len(words) or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of different whole numbers; write for example 1,2,3"
        )
    return seeds


def _run(arguments: argparse.Namespace) -> None:
    # Before torch is imported, which a reward function of the recipe may do. Idle threads sleep: with another
    # process on the cores, OpenMP's spinning barriers cost up to a hundred times the work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if not arguments.seeds:
        _run_one(arguments)
        return
    from dianoia.recipe import load_recipe

    # What the first seed would refuse is refused for all; the name of the folder is the recipe's.
    recipe = load_recipe(arguments.recipe, arguments.set)
    out = arguments.out or Path("runs") / recipe.name
    runs = [out / f"seed-{seed}" for seed in arguments.seeds]
    for seed, path in zip(arguments.seeds, runs, strict=True):
        overrides = [*arguments.set, f"seed={seed}"]
        _run_one(argparse.Namespace(**vars(arguments) | {"set": overrides, "out": path}))
    if recipe.claims.parts and not arguments.dry_run:
        _claims(argparse.Namespace(runs=runs, markdown=False))


def _run_one(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from dianoia.base.lock import at_work
    from dianoia.base.run import RunDirectory
    from dianoia.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.set)
    run = RunDirectory(arguments.out or Path("runs") / recipe.name)
    console = Console(soft_wrap=True)
    if arguments.dry_run:
        _plan(arguments, recipe, run, console)
        return
    with at_work(run.path) as alone:  # before the plan, which another command would make untrue
        if not alone:
            console.print(f"{run.path}: {NO_LOCKS}", highlight=False)
        _work(recipe, run, _plan(arguments, recipe, run, console), console)


def _plan(
    arguments: argparse.Namespace, recipe: "Recipe", run: "RunDirectory", console: "Console"
) -> "list[Todo]":
    """What the command does with each stage, printed."""
    from dianoia.recipe.plan import print_plan
    from dianoia.recipe.standing import what_to_do

    plan = what_to_do(recipe, run, _choice(arguments))
    print_plan(recipe, console, plan, run.path)
    return plan


def _work(recipe: "Recipe", run: "RunDirectory", plan: "list[Todo]", console: "Console") -> None:
    """Do what the plan says and tell where the results are."""
    from dianoia.pipeline import run_recipe

    run_recipe(recipe, run, plan, _typed(), console)
    console.print(f"results: {run.results}", highlight=False)
    console.print(f"to see them: dianoia report {shlex.quote(str(run.path))}", highlight=False)


def _choice(arguments: argparse.Namespace) -> "Choice":
    from dianoia.recipe.standing import Choice

    words = ["dianoia", "run", str(arguments.recipe)]
    words += [word for override in arguments.set for word in ("--set", override)]
    words += ["--out", str(arguments.out)] if arguments.out else []
    only = tuple(name.strip() for option in arguments.only for name in option.split(","))
    return Choice(only, arguments.start, arguments.force, shlex.join(words))


def _report(arguments: argparse.Namespace) -> None:
    from dianoia.base.run import RunDirectory
    from dianoia.report import write_report

    path = write_report(RunDirectory(arguments.run))
    print(f"report: {path.resolve()}")


def _claims(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from dianoia.base.run import RunDirectory
    from dianoia.claims import seeds

    runs = seeds.load([RunDirectory(path) for path in arguments.runs])
    grids = [seeds.claims_grid(runs), seeds.stages_grid(runs)]
    seeds.print_grids(grids, Console(), arguments.markdown)


def _tasks(_arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from dianoia.tasks.show import show_catalogue

    show_catalogue(Console(soft_wrap=True))


def _check_tasks(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from dianoia.recipe.golds import golds
    from dianoia.tasks.catalog import clear_of
    from dianoia.tasks.show import show_graded

    tests = clear_of(arguments.against)
    found = [
        show_graded(name, rows, Console(soft_wrap=True), arguments.most, tests)
        for name, rows in golds(arguments.names, arguments.mapping, arguments.split)
    ]
    return 0 if all(found) else 1


def _typed() -> str:
    """The command as it was typed, for the record."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
