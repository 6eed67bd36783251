"""`dianoia run`: plans a recipe, runs its stages and prints the results."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    redirect_stdout,
)
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dianoia.base.errors import ConfigError, MachineFault, Stopped
from dianoia.base.thread_variables import let_idle_threads_sleep
from dianoia.cli.number_options import whole_number
from dianoia.cli.output import print_json
from dianoia.cli.rank_options import add_rank_options, launched, rank_count

if TYPE_CHECKING:
    from rich.console import Console

    from dianoia.distributed.placement import Placement
    from dianoia.pipeline.results import PlannedRun
    from dianoia.pipeline.scheduler import Executor
    from dianoia.recipe import Recipe
    from dianoia.recipe.load import RecipeSource
    from dianoia.recipe.plan.run_plan import RunPlan
    from dianoia.recipe.resume.stage_status import StageTask
    from dianoia.storage.run_directory import RunDirectory
    from dianoia.track.followers import TrackedRun

    # The type has no public name.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

TYPED_COMMAND = "DIANOIA_TYPED_COMMAND"
"""Variable with the command that a user typed, in processes that it has started on other machines."""
_MIN_ADDRESSES = 1e9
"""Bytes of address space that importing PyTorch takes."""
_NO_LOCKS = "this file system has no locks, so a second command would not be noticed; start none in this folder"
_jobs = whole_number(0, "is not a number of stages; write for example 2, or 0 for one per core")
_nodes = whole_number(1, "is not a number of machines; write for example 2")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of `dianoia run`."""

    recipe: "RecipeSource"
    overrides: tuple[str, ...] = ()
    """`--set`: texts such as `zero.steps=10`."""
    out: Path | None = None
    """The run directory, or the folder of one run directory per seed; None: `runs/NAME` of the recipe."""
    seeds: tuple[int, ...] = ()
    """Seeds of several runs; empty: one run with the recipe's seed."""
    jobs: int = 1
    """Stages that may run at the same time; 0: as many as there are cores for."""
    ranks: int = 1
    """`--ranks`: processes that run a stage together on a CPU."""
    gpus: int | str | None = None
    """`--gpus`: GPUs that run a stage together, a process each; `all` of this machine; None: one, or the CPU."""
    cluster: str | None = None
    """`--cluster`: the cluster on whose nodes the processes run; None: this machine."""
    local_ranks: int = 1
    """Processes of this machine among them, once they are counted."""
    only: tuple[str, ...] = ()
    """Names of the stages to run; empty: all."""
    start: str | None = None
    """`--from`: this stage and its dependents run from scratch."""
    force: bool = False
    dry_run: bool = False
    gpu: str | None = None
    """`--for`: the GPU of the machine that a dry run plans for; None: this machine."""
    nodes: int | None = None
    """`--nodes`: machines that a dry run plans for, each with the ranks that are asked for."""
    json: bool = False
    """Print the results, or the plan of a dry run, as JSON; what else there is to say goes to standard error."""
    verbose: bool = False

    @classmethod
    def parsed(cls, arguments: argparse.Namespace) -> Self:
        """Return the options as typed on the command line."""
        return cls(
            recipe=arguments.recipe,
            overrides=tuple(arguments.set),
            out=arguments.out,
            seeds=arguments.seeds,
            jobs=arguments.jobs,
            ranks=arguments.ranks,
            gpus=arguments.gpus,
            cluster=arguments.cluster,
            only=tuple(name.strip() for option in arguments.only for name in option.split(",")),
            start=arguments.start,
            force=arguments.force,
            dry_run=arguments.dry_run,
            gpu=arguments.gpu,
            nodes=arguments.nodes,
            json=arguments.json,
            verbose=arguments.verbose,
        )

    @property
    def resume_advice(self) -> str:
        """Clause on the command to type after an interruption."""
        without = " without --force or --from" if self.force or self.start else ""
        return f"the same command{without} resumes from the last state"


# Arguments -----------------------------------------------------------------------------------------


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser("run", help="run a recipe; an interrupted run resumes")
    parser.add_argument("recipe", type=Path, help="a TOML file, or the name of a recipe that ships")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="override a value of the recipe, e.g. --set zero.steps=10 or --set seed=2; repeatable",
    )
    parser.add_argument(
        "--out", type=_folder, help="the run directory (default: runs/NAME of the recipe)"
    )
    parser.add_argument(
        "--seeds",
        type=_seeds,
        default=(),
        metavar="SEED[,SEED]",
        help="one run per seed, each in OUT/seed-N; prints the claims over all of them at the end",
    )
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=1,
        metavar="N",
        help="run up to N stages at the same time, over all seeds (default: 1; 0: one per core, at most 4)",
    )
    add_rank_options(parser)
    parser.add_argument(
        "--cluster",
        metavar="ray[=HOST:PORT]",
        help="the processes of --gpus or --ranks run on the nodes of this Ray cluster",
    )
    _add_stage_selection(parser)
    _add_plan_options(parser)
    parser.set_defaults(command=run)


def _add_stage_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which stages run."""
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="STAGE[,STAGE]",
        help="run only these stages; the stages that they read must be done",
    )
    parser.add_argument(
        "--from",
        dest="start",
        metavar="STAGE",
        help="re-run this stage and every stage that depends on it, from scratch",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="re-run every stage from scratch, even those that are done or could be resumed "
        "(with --only: just the named ones)",
    )


def _add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what of the plan is printed."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check the recipe, print what would run with its cost, and stop",
    )
    parser.add_argument(
        "--for",
        dest="gpu",
        metavar="GPU",
        help="with --dry-run: plan for a machine with this GPU instead of this machine, e.g. --for H100",
    )
    parser.add_argument(
        "--nodes",
        type=_nodes,
        metavar="M",
        help="with --dry-run: plan for M such machines, each with the --gpus or --ranks that are given",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the results as JSON, with --dry-run the plan; progress goes to standard error",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="print the plan with each stage's costs and memory"
    )


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; write a folder, such as runs/first")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not text in UTF-8, so JSON and TOML cannot hold it; give a folder with another name"
        ) from None
    return Path(text)


def _seeds(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    seeds = tuple(int(word) for word in words if word.isascii() and word.isdigit())
    if len(seeds) < len(words) or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of different whole numbers; write for example 1,2,3"
        )
    return seeds


# The command ---------------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> int | None:
    """Plan a recipe and, unless it is a dry run, run it and print its results. With seeds: one run per seed."""
    options = RunOptions.parsed(arguments)
    if options.cluster is not None:
        from dianoia.cli.cluster_run import run_on_cluster

        return run_on_cluster(options)
    with _execution(options) as (run_stages, outcomes):
        run_stages()
    if options.json:
        print_json(outcomes if options.seeds else outcomes[0])
    return None


def execute(
    options: RunOptions, console: "Console | None" = None, command: str | None = None
) -> list[dict[str, Any]]:
    """Plan a recipe and, unless it is a dry run, run it; return one table per run, for JSON.

    A table holds the plan, or `run` (its directory), `seconds` and `results`. Without `json` everything is printed too.

    Args:
        console: where it is printed; None: the terminal.
        command: what `run.json` says was typed; None: the command line.
    """
    with _execution(options, console, command) as (run_stages, outcomes):
        run_stages()
    return outcomes


@contextmanager
def _execution(
    options: RunOptions, console: "Console | None" = None, command: str | None = None
) -> Iterator[tuple[Callable[[], None], list[dict[str, Any]]]]:
    """Plan; yield what runs the stages, to be called in the block, and the tables of `execute`, filled after it.

    The stages run in the block, not in here, so that one call less leads to them.
    """
    _require_dry_run(options)
    # Before anything imports PyTorch, which reads these variables once.
    let_idle_threads_sleep()
    from rich.console import Console

    from dianoia.hardware.machine import job_count
    from dianoia.pipeline.scheduler import run_recipes

    if (placement := launched(options)) is not None and placement.rank > 0:
        from dianoia.pipeline.stage import follow

        # Other ranks plan nothing and lock nothing: rank 0 does, and tells them which stages to run.
        sys.exit(0 if options.dry_run else follow(placement))
    ranks = rank_count(options, placement)
    # 0 means one job per core, or one on a GPU. The plan and the run must agree on the number.
    jobs = job_count(options.jobs, ranks.size) if options.gpu is None else options.jobs or 1
    options = replace(options, jobs=jobs, ranks=ranks.size, local_ranks=ranks.per_machine)
    # From here on each run has its own options, with its seed among the overrides.
    runs = _options_per_seed(options) if options.seeds else [options]
    if options.dry_run:
        yield _nothing, _dry_run(runs, options)
        return
    _check_address_space()
    console, start = console or Console(soft_wrap=True, stderr=options.json), time.monotonic()
    outcomes: list[dict[str, Any]] = []
    # Every run is locked and planned before the first one begins: what is wrong with the last seed shows now.
    with _resume_advice(options), ExitStack() as locks:
        planned = [_lock_and_plan(run_options, locks, console) for run_options in runs]
        executor = _executor(options, placement, planned, console)
        if options.json:  # a reward function may print
            locks.enter_context(redirect_stdout(sys.stderr))
        # Inside of the locks, since followers read the run directories to their end.
        with _followed(planned):
            typed = command or command_line()
            run_stages = partial(
                run_recipes, planned, options.jobs, executor, typed, console, ranks
            )
            yield run_stages, outcomes
    seconds = time.monotonic() - start
    if not options.json:
        _print_results(planned, seconds, console)
    if options.seeds and not (options.json or console.quiet):
        _print_claims(runs)
    outcomes += [_outcome(planned_run, seconds) for planned_run in planned]


def _nothing() -> None:
    """Run no stage: a dry run has none to run."""


def _require_dry_run(options: RunOptions) -> None:
    """Raise ConfigError for an option of a dry run without `--dry-run`: such a command would start work."""
    if options.dry_run:
        return
    if options.gpu is not None:
        raise ConfigError(
            f"--for {options.gpu} plans for another machine, and without --dry-run the recipe would run on this one; add "
            "--dry-run, or leave --for out"
        )
    if options.nodes is not None:
        raise ConfigError(
            f"--nodes {options.nodes} plans for several machines, and without --dry-run the recipe would run on this one alone; add "
            "--dry-run, or start the command on each machine with torchrun (docs/scale.md)"
        )


def _check_address_space() -> None:
    """Raise MachineFault if a limit (ulimit -v) leaves too few addresses to import PyTorch."""
    from dianoia.hardware.machine import address_limit

    if address_limit() < _MIN_ADDRESSES:
        raise MachineFault(
            f"memory is limited to {address_limit() / 1e6:,.0f} MB of addresses for this process (ulimit -v), and PyTorch "
            f"alone takes {_MIN_ADDRESSES / 1e6:,.0f} MB, so the system would end the run halfway; raise the limit "
            "(ulimit -v unlimited) and run the same command again"
        )


@contextmanager
def _resume_advice(options: RunOptions) -> Iterator[None]:
    """Add to an interruption in the block which command resumes: only here is it known which options to leave out."""
    try:
        yield
    except Stopped as stop:
        raise Stopped(f"{stop}; {options.resume_advice}") from None
    except KeyboardInterrupt as interrupt:
        reason = str(interrupt) or "interrupted"
        raise KeyboardInterrupt(f"{reason}; {options.resume_advice}") from None


def _dry_run(runs: Sequence[RunOptions], options: RunOptions) -> list[dict[str, Any]]:
    """Return the plan of each run as a table; print it, except for JSON."""
    from rich.console import Console

    from dianoia.recipe.plan.plan_text import print_plan

    plans = [_plan(run_options, *_load(run_options))[1] for run_options in runs]
    for plan in plans if not options.json else ():
        print_plan(plan, Console(soft_wrap=True), options.verbose)
    return [plan.as_json() for plan in plans]


def _options_per_seed(options: RunOptions) -> list[RunOptions]:
    """Return the options of the run of each seed, in `OUT/seed-N`."""
    from dianoia.recipe import load_recipe

    out = options.out or Path("runs") / load_recipe(options.recipe, options.overrides).name
    return [
        replace(options, overrides=(*options.overrides, f"seed={seed}"), out=out / f"seed-{seed}")
        for seed in options.seeds
    ]


def _load(options: RunOptions) -> "tuple[Recipe, RunDirectory]":
    from dianoia.recipe import load_recipe
    from dianoia.recipe.templates import inherit_templates
    from dianoia.storage.run_directory import RunDirectory

    recipe = inherit_templates(load_recipe(options.recipe, options.overrides))
    out = options.out or Path("runs") / recipe.name
    # Any part of the path may be a file, and the system's own message would not name it.
    for path in (out, *out.parents):
        if path.is_file():
            raise ConfigError(
                f"--out {out}: {path} is a file, and a run directory is a folder; give another --out, or move the file away"
            )
    return recipe, RunDirectory(out)


def _plan(
    options: RunOptions, recipe: "Recipe", run: "RunDirectory"
) -> "tuple[tuple[StageTask, ...], RunPlan]":
    """Decide what happens to each stage, check the inputs of the recipe, and plan the run.

    The inputs are checked here and nowhere else. A dry run may lack files; its plan lists them.
    """
    from dianoia.recipe.check.inputs import check_inputs
    from dianoia.recipe.plan.layout import NODE_RANKS, layout_of
    from dianoia.recipe.plan.run_plan import plan_run
    from dianoia.recipe.resume.stage_status import StageSelection, stage_tasks
    from dianoia.track.trackers import check_trackers, writes_to

    selection = StageSelection(options.only, options.start, options.force, _base_command(options))
    tasks = tuple(stage_tasks(recipe, run, selection))
    check_inputs(recipe, planned=options.dry_run)
    track = recipe.track
    check_trackers(track.to, track.online)
    layout = layout_of(
        options.ranks, options.local_ranks if options.gpu is None else NODE_RANKS, options.nodes
    )
    plan = plan_run(recipe, tasks, run.path, options.jobs, options.gpu, layout)
    trackers: dict[str, str] = {
        name: writes_to(name, run.path, track.project, track.online) for name in track.to
    }
    return tasks, replace(plan, trackers=trackers)


def _base_command(options: RunOptions) -> str:
    """Return the command without --only, --from and --force; error messages append the right ones."""
    # Quoted by shlex at the end, so that it can be pasted into a shell.
    is_table = isinstance(options.recipe, Mapping)
    words = ["dianoia", "run", "RECIPE" if is_table else str(options.recipe)]
    words += [word for override in options.overrides for word in ("--set", override)]
    words += ["--out", str(options.out)] if options.out else []
    words += ["--jobs", str(options.jobs)] if options.jobs > 1 else []
    if options.gpus is not None:
        words += ["--gpus", str(options.gpus)]
    elif options.ranks > 1:
        words += ["--ranks", str(options.ranks)]
    return shlex.join(words)


def _lock_and_plan(options: RunOptions, locks: ExitStack, console: "Console") -> "PlannedRun":
    from dianoia.pipeline.results import PlannedRun
    from dianoia.recipe.plan.plan_text import print_plan
    from dianoia.storage.lock import lock_directory

    recipe, run = _load(options)
    # The lock comes first: another command at work in the folder would make the plan untrue.
    lock = locks.enter_context(lock_directory(run.path))
    if lock is None:
        console.print(f"{run.path}: {_NO_LOCKS}", highlight=False)
    tasks, plan = _plan(options, recipe, run)
    print_plan(plan, console, options.verbose)
    return PlannedRun(recipe, run, tasks, lock)


def _followed(planned: "Sequence[PlannedRun]") -> AbstractContextManager[object]:
    """Return a context manager in which the trackers of the recipes follow the runs, each from a process of its own."""
    if not any(run.recipe.track.to for run in planned):
        return nullcontext()
    from dianoia.track.followers import Followers

    return Followers(
        [(_tracked(planned_run), planned_run.recipe.track.to) for planned_run in planned]
    )


def _tracked(planned: "PlannedRun") -> "TrackedRun":
    from dianoia.track.followers import TrackedRun

    table = planned.recipe.track
    return TrackedRun(planned.run.path, table.run, table.project, table.online)


def _executor(
    options: RunOptions,
    placement: "Placement | None",
    planned: "Sequence[PlannedRun]",
    console: "Console",
) -> "Executor":
    """Return where stages run: one job in this process, several jobs or ranks in processes per stage."""
    if placement is not None:
        from dianoia.pipeline.stage import LaunchedRanks

        return LaunchedRanks(placement)
    # With several this process never imports torch: it only schedules.
    if options.jobs > 1 or options.ranks > 1:
        from dianoia.pipeline.stage_processes import StageProcesses

        locks = [run.lock for run in planned if run.lock is not None]
        return StageProcesses(locks, capture=console.is_terminal or console.quiet)
    from dianoia.pipeline.stage import InProcess

    return InProcess()


def _print_results(planned: "Sequence[PlannedRun]", seconds: float, console: "Console") -> None:
    """Print the elapsed time, and for each run its accuracies and what to do next."""
    from dianoia.base.progress import format_duration
    from dianoia.cli.result_tables import print_accuracies, print_pairs, say
    from dianoia.cli.track import shown
    from dianoia.inference.checkpoints import checkpoints_of
    from dianoia.results.run_results import load_run

    say(console, f"took {format_duration(seconds)}")
    for run in (planned_run.run for planned_run in planned):
        say(console)
        print_accuracies(load_run(run.path), console)
        folder = shlex.quote(str(run.path))
        following = [
            ("results", str(run.results)),
            ("look at it", f"dianoia show {folder}"),
            ("report", f"dianoia report {folder}"),
        ]
        if any(checkpoint.stage is not None for checkpoint in checkpoints_of(run.path)):
            following += [
                ("ask it", f'dianoia ask {folder} "QUESTION" -n 4'),
                ("talk to it", f"dianoia chat {folder}"),
            ]
        say(console)
        print_pairs(console, following)
    for planned_run in planned:
        for line in shown(planned_run.recipe.track.to, _tracked(planned_run)):
            say(console, f"to see {line}")


def _outcome(planned: "PlannedRun", seconds: float) -> dict[str, Any]:
    """Return what JSON says of a run that is done."""
    from dianoia.base.files import read_table

    run = planned.run
    return {"run": str(run.path), "seconds": seconds, "results": dict(read_table(run.results))}


def _print_claims(runs: Sequence[RunOptions]) -> None:
    from dianoia.cli.claims import claims
    from dianoia.recipe import load_recipe

    if load_recipe(runs[0].recipe, runs[0].overrides).claims.parts:
        claims([options.out for options in runs if options.out is not None])


def command_line() -> str:
    """Return the command as it was typed, for `run.json`."""
    return os.environ.get(TYPED_COMMAND) or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
