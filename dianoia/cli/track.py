"""`dianoia track`: sends the metrics of a run, done or running, to trackers."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dianoia.base.errors import ConfigError, TrackerError, UserError

if TYPE_CHECKING:
    from dianoia.cli.run import Commands
    from dianoia.track.follower import Follower
    from dianoia.track.followers import TrackedRun

_POLL_SECONDS = 1.0
_WAIT_SECONDS = 3.0
"""For the follower of a run that has just ended; that of a run at work does not end."""


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "track", help="send a run's metrics to TensorBoard, W&B, trackio or MLflow"
    )
    parser.description = "Sends what a tracker does not hold yet. Everything stays on this machine unless --online is given."
    parser.add_argument("run", type=Path, help="a run directory, done or running")
    parser.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="TRACKER[,TRACKER]",
        help="tensorboard, wandb, trackio, mlflow (default: those of the recipe)",
    )
    parser.add_argument(
        "--follow", action="store_true", help="go on until every stage is done; Ctrl-C ends it"
    )
    parser.add_argument("--name", help="name of the run in the tracker (default: the folder's)")
    parser.add_argument("--project", help="the tracker's project or experiment (default: dianoia)")
    parser.add_argument(
        "--online",
        action="store_true",
        help="send: W&B to its server, MLflow to MLFLOW_TRACKING_URI",
    )
    parser.add_argument("--json", action="store_true", help="print what was sent as JSON")
    parser.set_defaults(command=track)


def track(arguments: argparse.Namespace) -> None:
    """Feed each tracker with what it does not hold, and print what that was.

    Raises:
        ConfigError: no run, no tracker, or a tracker whose package is missing.
        TrackerError: a tracker has failed; the others were fed.
    """
    # Here and below: `dianoia --help` must not import what only a tracker needs.
    from dianoia.track.trackers import check_trackers

    run, names = _run_and_trackers(arguments)
    check_trackers(names, run.online)
    counts: dict[str, dict[str, Any]] = {}
    failures: list[str] = []
    # Packages print as they like; standard output is for the answer.
    with redirect_stdout(sys.stderr), ExitStack() as stack:
        feeding: dict[str, Follower] = {}
        for name in names:
            _try(name, failures, partial(_open, name, run, stack, feeding))
        if arguments.follow:
            _say_where(feeding, run, arguments.json)
        _feed(feeding, failures, arguments.follow)
        for name, tracker_feed in feeding.items():
            counts[name] = {stage: asdict(count) for stage, count in tracker_feed.counts.items()}
    # Outside of the block: the followers have been closed, and standard output is ours again.
    _print(counts, run, arguments.json)
    if failures:
        raise TrackerError("\n".join(failures))


def _run_and_trackers(arguments: argparse.Namespace) -> "tuple[TrackedRun, list[str]]":
    """Return the run as the options and its recipe say, and the names of the trackers."""
    from dianoia.base.files import read_table
    from dianoia.storage.run_directory import RunDirectory
    from dianoia.track.followers import TrackedRun

    recipe = RunDirectory(arguments.run).recipe
    if not recipe.is_file():
        raise ConfigError(
            f"{arguments.run}: this is no run directory: it has no recipe.json, which `dianoia run` writes first; give the "
            "folder that `dianoia run` has named as its results"
        )
    table: dict[str, Any] = read_table(recipe).get("track", {})
    # `--to` replaces the recipe's trackers; it does not add to them.
    typed = [name.strip() for option in arguments.to for name in option.split(",")]
    names = list(dict.fromkeys(typed or table.get("to", [])))
    if not names:
        raise ConfigError(
            f"{arguments.run}: the recipe names no tracker, so there is nothing to send to; add --to tensorboard, wandb, "
            "trackio or mlflow"
        )
    run = TrackedRun(
        arguments.run,
        arguments.name or table.get("run"),
        arguments.project or table.get("project"),
        arguments.online or bool(table.get("online")),
    )
    return run, names


def _open(name: str, run: "TrackedRun", stack: ExitStack, feeding: "dict[str, Follower]") -> None:
    from dianoia.track.followers import follower

    feeding[name] = stack.enter_context(follower(run, name, _WAIT_SECONDS))


def _try(name: str, failures: list[str], action: Callable[[], object]) -> None:
    """Call `action`; a failure of a tracker's package is noted, and the others go on."""
    try:
        action()
    except UserError as error:
        failures.append(f"{name}: {error}")
    except Exception as error:  # noqa: BLE001 - packages raise what they like
        reason = " ".join(str(error).split())[:500]
        failures.append(
            f"{name} failed ({type(error).__name__}: {reason}); the run is not affected, and the same command sends "
            "what is missing"
        )


def _feed(feeding: "dict[str, Follower]", failures: list[str], follow: bool) -> None:
    """Send what is new, once or until every stage is done; trackers that fail are left out."""
    active = dict(feeding)
    try:
        while active:
            for name, follower in list(active.items()):
                # `_try` notes a failure instead of raising it, so the list tells whether there was one.
                before = len(failures)
                _try(name, failures, follower.feed)
                if len(failures) > before or not follow or follower.is_complete:
                    del active[name]
            if active:
                time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        # With --follow, Ctrl-C is the usual end: what was sent is closed and printed as at any other end.
        if not follow:
            raise


def _say_where(names: Collection[str], run: "TrackedRun", as_json: bool) -> None:
    if not as_json:
        for line in shown(names, run):
            print(line, file=sys.stderr)


def shown(names: Collection[str], run: "TrackedRun") -> list[str]:
    """Return the line of each tracker that says how to look at it."""
    from dianoia.track.trackers import show_command

    return [f"{name}: {show_command(name, run.path, run.project, run.online)}" for name in names]


def _print(counts: dict[str, dict[str, Any]], run: "TrackedRun", as_json: bool) -> None:
    if as_json:
        print(json.dumps({"run": str(run.path), "sent": counts}, indent=2, ensure_ascii=False))
        return
    for name, stages in counts.items():
        rows, tables = (sum(count[key] for count in stages.values()) for key in ("rows", "tables"))
        print(f"{name}: {rows:,} rows and {tables:,} tables of {len(stages)} stages sent")
    for line in shown(counts, run):
        print(f"to see {line}")
