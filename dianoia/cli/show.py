"""`dianoia show`: a run in the terminal, or one stage of it: results, states, last metrics, a few rollouts."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dianoia.cli.output import print_json
from dianoia.cli.result_tables import (
    add_thoughts,
    figure,
    figures,
    holder_text,
    make_console,
    percent,
    print_accuracies,
    print_columns,
    print_levels,
    print_pairs,
    print_response,
    say,
    shortened,
)

if TYPE_CHECKING:
    from rich.console import Console

    from dianoia.cli.run import Commands
    from dianoia.results.run_results import Run, StageInfo
    from dianoia.storage.estimate import Estimate


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser("show", help="show a run or a stage: results, metrics, rollouts")
    parser.description = (
        "Shows the results of a run with their intervals, the state and last metrics of each stage, and a few rollouts. With a "
        "stage: all its last metrics, its diagnoses and more of its rollouts. Works while a run is at work, too."
    )
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("stage", nargs="?", help="a stage of its recipe")
    parser.add_argument(
        "-n",
        "--rollouts",
        type=int,
        metavar="N",
        help="rollouts to show (default: 2, of a stage 4)",
    )
    parser.add_argument("--step", type=int, help="rollouts of this step (default: the last)")
    parser.add_argument(
        "--checkpoint", metavar="NAME", help="rollouts of this model, of an evaluate stage"
    )
    add_thoughts(parser)
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.set_defaults(command=show)


def show(arguments: argparse.Namespace) -> None:
    """Print a run, or one stage of it."""
    from dianoia.results.run_results import load_run

    run = load_run(arguments.run)
    if arguments.stage is None:
        shown = _run_table(run, 2 if arguments.rollouts is None else arguments.rollouts)
    else:
        count = 4 if arguments.rollouts is None else arguments.rollouts
        shown = _stage_table(run, arguments.stage, count, arguments.step, arguments.checkpoint)
    if arguments.json:
        print_json(shown)
        return
    console = make_console()
    if arguments.stage is None:
        _print_run(run, shown, console, arguments.thoughts)
    else:
        _print_stage(run, shown, console, arguments.thoughts)


# What is shown, as JSON has it ---------------------------------------------------------------------


def _run_table(run: "Run", count: int) -> dict[str, Any]:
    from dataclasses import asdict

    from dianoia.inference.checkpoints import main_checkpoint
    from dianoia.results.run_results import example_rollouts, headline, stage_with_rollouts

    names = {checkpoint.stage for checkpoint in run.checkpoints} - {None}
    source = stage_with_rollouts(run, main_checkpoint(run.path).name) if names and count else None
    rollouts = example_rollouts(run, source[0], count, checkpoint=source[1]) if source else []
    # The model that the run was made for, or the last one that was evaluated.
    main = main_checkpoint(run.path).name if names else None
    leveled = [main] if main in run.by_difficulty else list(run.by_difficulty)[-1:]
    return {
        "run": str(run.path),
        "recipe": run.name,
        "seed": run.seed,
        "state": run.state,
        "holder": run.holder_as_json(),
        "seconds": run.seconds,
        "stages": [_info(stage) | {"metrics": headline(run, stage.name)} for stage in run.stages.values()],
        "evaluations": {
            name: {d: {m: asdict(e) for m, e in metrics.items()} for d, metrics in domains.items()}
            for name, domains in run.evaluations.items()
        },
        "by_difficulty": {name: _levels_table(run, name) for name in run.by_difficulty},
        "levels_of": leveled,
        "reward_models": {name: {m: asdict(e) for m, e in metrics.items()} for name, metrics in run.reward_models.items()},
        "rollouts_of": None if source is None else {"stage": source[0], "checkpoint": source[1]},
        "rollouts": rollouts,
    }  # fmt: skip


def _levels_table(run: "Run", name: str) -> dict[str, Any]:
    """Return the estimates of a checkpoint by domain, level of difficulty and metric."""
    from dataclasses import asdict

    return {
        domain: {
            level: {m: asdict(e) for m, e in metrics.items()} for level, metrics in levels.items()
        }
        for domain, levels in run.by_difficulty[name].items()
    }


def _info(stage: "StageInfo") -> dict[str, Any]:
    return {
        "name": stage.name,
        "kind": stage.kind,
        "status": stage.status,
        "seconds": stage.seconds,
        "failure": stage.failure,
    }


def _stage_table(
    run: "Run", name: str, count: int, step: int | None, checkpoint: str | None
) -> dict[str, Any]:
    from dataclasses import asdict

    from dianoia.results.run_results import example_rollouts, headline, last_metrics
    from dianoia.storage.journal import read_journal
    from dianoia.storage.run_directory import RunDirectory

    metrics = last_metrics(run, name)  # refuses a stage that there is not
    stage = run.stages[name]
    checkpoints = stage.settings.get("checkpoints", [name])
    diagnoses = list(read_journal(RunDirectory(run.path).stage(name).diagnoses))
    examples = example_rollouts(run, name, count, step=step, checkpoint=checkpoint) if count else []
    return {
        "run": str(run.path),
        **_info(stage),
        "settings": dict(stage.settings),
        "metrics": metrics or headline(run, name),
        "evaluations": {
            name: {d: {m: asdict(e) for m, e in metrics.items()} for d, metrics in run.evaluations[name].items()}
            for name in checkpoints
            if name in run.evaluations
        },
        "by_difficulty": {n: _levels_table(run, n) for n in checkpoints if n in run.by_difficulty},
        "diagnoses": diagnoses,
        "rollouts": examples,
    }  # fmt: skip


# What is printed -----------------------------------------------------------------------------------


def _print_run(run: "Run", shown: dict[str, Any], console: "Console", thoughts: str) -> None:
    from dianoia.base.progress import format_duration

    say(console, f"{run.name}, seed {run.seed}: {run.state}", "bold")
    if shown["holder"]:
        say(console, holder_text(shown["holder"], run.path))
    console.print(
        f"{run.path}, {format_duration(run.seconds)} of work", style="dim", soft_wrap=True
    )
    if run.evaluations or run.reward_models:
        say(console)
        print_accuracies(run, console)
        print_levels(run, shown["levels_of"], console)
    say(console)
    rows = [
        [row["name"], row["kind"], row["status"], "" if row["seconds"] is None else format_duration(row["seconds"])]
        for row in shown["stages"]
    ]  # fmt: skip
    headlines = [_fitting(row["metrics"], rows, console.width) for row in shown["stages"]]
    table = [[*row, text] for row, text in zip(rows, headlines, strict=True)]
    print_columns(["stage", "kind", "state", "time", "last"], table, console, numbers=False)
    for row in shown["stages"]:
        if row["failure"]:
            say(console, f"\n{row['name']} failed: {row['failure']}")
    source = shown["rollouts_of"]
    if source is not None and shown["rollouts"]:
        say(console, f"\nrollouts of {source['checkpoint'] or source['stage']}", "bold")
        _print_rollouts(shown["rollouts"], console, thoughts)
    say(console)
    quoted = shlex.quote(str(run.path))
    example = source["stage"] if source else next(iter(run.stages), "STAGE")
    print_pairs(
        console,
        [("one stage", f"dianoia show {quoted} {example}"), ("report", f"dianoia report {quoted}")],
    )


def _fitting(metrics: dict[str, float], rows: list[list[str]], width: int) -> str:
    """Return as many whole figures as fit beside the other columns."""
    used = sum(max(len(row[column]) for row in rows) + 2 for column in range(4))
    fitting: dict[str, float] = {}
    for name, value in metrics.items():
        if used + len(figures({**fitting, name: value})) > width:
            break
        fitting[name] = value
    return figures(fitting)


def _print_stage(run: "Run", shown: dict[str, Any], console: "Console", thoughts: str) -> None:
    from dianoia.base.progress import format_duration

    took = "" if shown["seconds"] is None else f" in {format_duration(shown['seconds'])}"
    say(console, f"{shown['name']} ({shown['kind']}): {shown['status']}{took}", "bold")
    settings = shown["settings"]
    parts = [f"{key} {settings[key]}" for key in ("start", "problems", "template", "steps") if isinstance(settings.get(key), str | int)]  # fmt: skip
    if parts:
        say(console, ", ".join(parts), "dim")
    if shown["failure"]:
        say(console, f"\nfailed: {shown['failure']}")
    _print_evaluations(run, shown, console)
    if shown["metrics"]:
        say(console, "\nlast metrics", "bold")
        print_pairs(console, [(name, figure(value)) for name, value in shown["metrics"].items()])
    for row in shown["diagnoses"]:
        where = row.get("checkpoint") or f"step {row['step']}"
        say(console, f"\n{where}: {row['code']}: {row['message']}. {row['advice']}")
    if shown["rollouts"]:
        say(console, "\nrollouts", "bold")
        _print_rollouts(shown["rollouts"], console, thoughts)


def _print_evaluations(run: "Run", shown: dict[str, Any], console: "Console") -> None:
    """Print every metric of the checkpoints that a stage has written or evaluated, a column per domain."""
    for checkpoint in shown["evaluations"]:
        by_domain = run.evaluations[checkpoint]
        names = list(dict.fromkeys(metric for metrics in by_domain.values() for metric in metrics))
        rows = [
            [metric, *(_cell(metric, by_domain[domain].get(metric)) for domain in by_domain)]
            for metric in names
        ]
        say(console, f"\n{checkpoint}: shares in %, ± the wider half of the 95 % interval", "bold")
        print_columns(["metric", *by_domain], rows, console)
    print_levels(run, list(shown["by_difficulty"]), console)


def _cell(metric: str, estimate: "Estimate | None") -> str:
    """Return a share in percent, and any other estimate in its own unit."""
    from dianoia.metrics.definitions import METRICS

    units = {
        m.unit for section in METRICS["evaluate"] for m in section.metrics if m.matches(metric)
    }
    return percent(estimate, scale=100 if "share" in units else 1)


def _print_rollouts(rollouts: list[dict[str, Any]], console: "Console", thoughts: str) -> None:
    from dianoia.inference.thought_stream import split_text
    from dianoia.text.template import TEMPLATES

    for row in rollouts:
        parts = [f"{part} {value:.3g}" for part, value in row["parts"].items() if value is not None]
        fault = f" ({row['fault']})" if row["fault"] else ""
        gold = [f"gold {shortened(row['gold'])}"] if row["gold"] else []
        reward = f"reward {row['reward']:.3g} ({', '.join(parts)})"
        heading = ", ".join([f"{row['status']}{fault}", reward, *gold])
        # A rollout that broke its template has no thought of its own.
        split = split_text(row["text"], TEMPLATES["r1-zero"])
        thought = split.thought if row["thought"] is None else row["thought"]
        say(console)
        say(console, row["question"])
        print_response(console, f"  {heading}", thought, split.content, thoughts)
