"""The commands. Each imports what it needs when it is called, so that `--help` answers at once."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import dianoia
from dianoia.base.errors import ConfigError, MachineFault, StageCrashed, Stopped, UserError
from dianoia.base.faults import fault_of
from dianoia.cli.arguments import folder, jobs, seeds

if TYPE_CHECKING:
    from contextlib import ExitStack

    from rich.console import Console

    from dianoia.pipeline.results import Planned
    from dianoia.recipe import Recipe
    from dianoia.recipe.resume.standing import Choice, Todo
    from dianoia.storage.run_directory import RunDirectory

_LEAST_ADDRESSES = 1e9
"""Bytes of addresses below which PyTorch cannot be imported."""
NO_LOCKS = "this file system has no locks, so a second command would not be noticed; start none in this folder"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0; 1 for gold answers that are not right and for errors of ours; 2 for what the user can put right; 130 for Ctrl-C, 143
    for SIGTERM, 141 where nobody reads the output any more.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a letter that a terminal has not is no reason to end
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int | None] = arguments.command
    try:
        status = command(arguments) or 0
        sys.stdout.flush()
        return status
    except UserError as error:
        goes_on = f"; {_goes_on(arguments)}" if isinstance(error, Stopped) else ""
        return _say(f"{error}{goes_on}", _status(error))
    except StageCrashed as error:
        return _say(str(error), 1)
    except KeyboardInterrupt:
        return _say(f"interrupted; {_goes_on(arguments)}", 130)
    except Exception as error:
        if _nobody_reads(error):
            return 141
        fault = fault_of(error)
        if fault is None:
            raise
        unnamed = isinstance(error, OSError) and error.errno is not None and error.filename is None
        return _say(f"the output of this command: {fault}" if unnamed else fault, 2)


def _say(text: str, status: int) -> int:
    with suppress(OSError):
        print(f"dianoia: {text}", file=sys.stderr)
    return status


def _status(error: UserError) -> int:
    """The exit status of an error that a person can put right."""
    if not isinstance(error, Stopped):
        return 2
    return 143 if "SIGTERM" in str(error) else 130


def _nobody_reads(error: Exception) -> bool:
    """Whether the output goes to a command that has ended, such as `head`. Nothing more is written there then."""
    if not isinstance(error, BrokenPipeError):
        return False
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


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
        "--out", type=folder, help="the run directory (default: runs/NAME of the recipe)"
    )
    run.add_argument(
        "--seeds",
        type=seeds,
        default=(),
        metavar="SEED[,SEED]",
        help="one run a seed, each in OUT/seed-N; then the claims over all of them",
    )
    run.add_argument(
        "--jobs",
        type=jobs,
        default=1,
        metavar="N",
        help="run up to N stages side by side, of all seeds together (default: 1; 0: one a core, at most 4)",
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
    run.add_argument(
        "--verbose", action="store_true", help="the plan with every stage's arithmetic and memory"
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


def _run(arguments: argparse.Namespace) -> None:
    # Before torch is imported, which a reward function of the recipe may do. Idle threads sleep: with another
    # process on the cores, OpenMP's spinning barriers cost up to a hundred times the work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from dianoia.hardware.machine import address_limit, jobs_of

    if not arguments.dry_run and address_limit() < _LEAST_ADDRESSES:
        raise MachineFault(
            f"memory is limited to {address_limit() / 1e6:,.0f} MB of addresses for this process (ulimit -v), and PyTorch "
            f"alone takes {_LEAST_ADDRESSES / 1e6:,.0f} MB, without which it is ended in the middle of its work; raise the "
            "limit (ulimit -v unlimited) and type the same command again"
        )
    arguments.jobs = jobs_of(arguments.jobs)
    every = _one_a_seed(arguments) if arguments.seeds else [arguments]
    if arguments.dry_run:
        from rich.console import Console

        for one in every:
            _plan(one, *_place(one), Console(soft_wrap=True))
        return
    for some in [every] if arguments.jobs > 1 else [[one] for one in every]:
        _work(some)
    if arguments.seeds:
        _claims_of_seeds(every)


def _one_a_seed(arguments: argparse.Namespace) -> list[argparse.Namespace]:
    """The arguments of each seed's run."""
    from dianoia.recipe import load_recipe

    # What the first seed would refuse is refused for all; the name of the folder is the recipe's.
    out = arguments.out or Path("runs") / load_recipe(arguments.recipe, arguments.set).name
    return [
        argparse.Namespace(
            **vars(arguments)
            | {"set": [*arguments.set, f"seed={seed}"], "out": out / f"seed-{seed}"}
        )
        for seed in arguments.seeds
    ]


def _claims_of_seeds(every: Sequence[argparse.Namespace]) -> None:
    from dianoia.recipe import load_recipe

    if load_recipe(every[0].recipe, every[0].set).claims.parts:
        _claims(argparse.Namespace(runs=[one.out for one in every], markdown=False))


def _place(arguments: argparse.Namespace) -> "tuple[Recipe, RunDirectory]":
    """The recipe, and where it runs."""
    from dianoia.recipe import load_recipe
    from dianoia.storage.run_directory import RunDirectory

    recipe = load_recipe(arguments.recipe, arguments.set)
    out = arguments.out or Path("runs") / recipe.name
    for path in (out, *out.parents):
        if path.is_file():
            raise ConfigError(
                f"--out {out}: {path} is a file, and a run directory is a folder; give another --out, or move the file away"
            )
    return recipe, RunDirectory(out)


def _plan(
    arguments: argparse.Namespace, recipe: "Recipe", run: "RunDirectory", console: "Console"
) -> "list[Todo]":
    """What the command does with each stage, printed."""
    from dianoia.recipe.plan.table import print_plan
    from dianoia.recipe.resume.standing import what_to_do

    plan = what_to_do(recipe, run, _choice(arguments))
    print_plan(recipe, console, plan, run.path, arguments.jobs, arguments.verbose)
    return plan


def _work(every: Sequence[argparse.Namespace]) -> None:
    """Do what the plans say and tell where the results are."""
    from contextlib import ExitStack

    from rich.console import Console

    console, began = Console(soft_wrap=True), time.monotonic()
    with ExitStack() as held:
        planned = [_planned(one, held, console) for one in every]
        _go(planned, every[0].jobs, console)
    took = timedelta(seconds=round(time.monotonic() - began))
    console.print(f"took {took}", highlight=False)
    for one in planned:
        console.print(f"results: {one.run.results}", highlight=False)
        console.print(
            f"to see them: dianoia report {shlex.quote(str(one.run.path))}", highlight=False
        )


def _planned(arguments: argparse.Namespace, held: "ExitStack", console: "Console") -> "Planned":
    """A run that is about to begin, its directory held and its plan printed."""
    from dianoia.pipeline.results import Planned
    from dianoia.storage.lock import at_work

    recipe, run = _place(arguments)
    # before the plan, which another command would make untrue
    lock = held.enter_context(at_work(run.path))
    if lock is None:
        console.print(f"{run.path}: {NO_LOCKS}", highlight=False)
    return Planned(recipe, run, tuple(_plan(arguments, recipe, run, console)), lock)


def _go(planned: "Sequence[Planned]", jobs: int, console: "Console") -> None:
    if jobs > 1:
        from dianoia.pipeline.scheduler import run_side_by_side

        run_side_by_side(planned, jobs, _typed(), console)
        return
    from dianoia.pipeline.in_process import run_recipe

    for one in planned:
        run_recipe(one, _typed(), console)


def _choice(arguments: argparse.Namespace) -> "Choice":
    from dianoia.recipe.resume.standing import Choice

    words = ["dianoia", "run", str(arguments.recipe)]
    words += [word for override in arguments.set for word in ("--set", override)]
    words += ["--out", str(arguments.out)] if arguments.out else []
    words += ["--jobs", str(arguments.jobs)] if arguments.jobs > 1 else []
    only = tuple(name.strip() for option in arguments.only for name in option.split(","))
    return Choice(only, arguments.start, arguments.force, shlex.join(words))


def _report(arguments: argparse.Namespace) -> None:
    from dianoia.report import write_report
    from dianoia.storage.run_directory import RunDirectory

    path = write_report(
        RunDirectory(arguments.run),
        lambda text: print(f"dianoia: could not be read: {text}", file=sys.stderr),
    )
    print(f"report: {path.resolve()}")


def _claims(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from dianoia.claims import seeds
    from dianoia.storage.run_directory import RunDirectory

    runs = seeds.load([RunDirectory(path) for path in arguments.runs])
    grids = [seeds.claims_grid(runs), seeds.stages_grid(runs)]
    seeds.print_grids(grids, Console(), arguments.markdown)


def _tasks(_arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from dianoia.tasks.listing import show_catalogue

    show_catalogue(Console(soft_wrap=True))


def _check_tasks(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from dianoia.recipe.check.gold_sets import golds
    from dianoia.tasks.catalog import clear_of
    from dianoia.tasks.listing import show_graded

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
