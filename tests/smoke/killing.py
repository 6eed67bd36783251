"""Runs the command in a process of its own, kills it with SIGKILL, and compares what two runs left.

A moment is exact: the n-th time that a file is opened or a name is replaced (`Moment`); the process ends itself there.
`kill_when` kills from outside, as soon as something is true.
"""

import json
import shutil
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dianoia.cli import main
from tests.smoke.commands import Command, run_command
from tests.smoke.moments import Moment, kill_at, log_renames


def kill(arguments: Sequence[str], moment: Moment) -> None:
    """Run the command until the moment; a command that gets past it is an error."""
    done = run_command(arguments, partial(kill_at, moment))
    assert done.returncode == -signal.SIGKILL, (
        f"{moment} never came, status {done.returncode}\n{done.stdout}{done.stderr}"
    )


def kill_when(arguments: Sequence[str], true: Callable[[], bool]) -> None:
    """Run the command and kill it from outside as soon as `true`."""
    with Command(arguments) as run:
        run.wait_until(true)
        run.kill()
        assert run.finish().returncode == -signal.SIGKILL


def arguments(recipe: Path, out: Path) -> list[str]:
    """Return the arguments of the command that runs a recipe."""
    return ["run", str(recipe), "--out", str(out)]


def before(stage: str, stages: Sequence[str], whole: Path, out: Path) -> None:
    """A copy of a whole run in which everything before a stage is done."""
    shutil.copytree(whole, out)
    for name in stages[stages.index(stage) :]:
        shutil.rmtree(out / "stages" / name)


def check_every_rename(recipe: Path, stage: str, folder: Path) -> None:
    """A stage that is killed before any one of its renames ends as one that never was; `folder/start` is before it."""
    start, reference = folder / "start", folder / "reference"
    shutil.copytree(start, reference)
    recipes_by_name = renames([*arguments(recipe, reference), "--only", stage], folder / "moments")
    assert len(recipes_by_name) >= 8
    for count, name in enumerate(recipes_by_name, start=1):
        run = folder / f"killed-before-{count}-{Path(name).name}"
        shutil.copytree(start, run)
        command = [*arguments(recipe, run), "--only", stage]
        kill(command, Moment(".", count))
        assert main(command) == 0, name
        assert_same(run, reference)
        shutil.rmtree(run)


def renames(arguments: Sequence[str], log: Path) -> list[str]:
    """Run the command to its end; every name that is given to something whole, in order."""
    done = run_command(arguments, partial(log_renames, log))
    assert done.returncode == 0, done.stdout + done.stderr
    return log.read_text(encoding="utf-8").splitlines()


# Comparing ---------------------------------------------------------------------------------------

_OF_ONE_RUN = ("run.json", "begun.json", "manifest.json")
"""Files that hold times under other keys, or the commands."""


def without_times(value: Any) -> Any:
    """A JSON value without the keys under which times stand."""
    if isinstance(value, dict):
        remaining = {k: v for k, v in value.items() if not k.endswith(("seconds", "_per_second"))}
        return {key: without_times(inner) for key, inner in remaining.items()}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def contents(run: Path) -> dict[str, Any]:
    """Everything in a run directory by its path, hidden leftovers too, times aside."""
    files = sorted(path for path in run.rglob("*") if path.is_file())
    return {path.relative_to(run).as_posix(): _content(path) for path in files}


def _content(path: Path) -> Any:
    if path.name in _OF_ONE_RUN:
        return None
    if path.suffix == ".json":
        return without_times(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".jsonl":
        lines = path.read_text(encoding="utf-8").splitlines()
        return [without_times(json.loads(line)) for line in lines]
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return path.read_bytes()


def assert_same(run: Path, reference: Path) -> None:
    """Two runs left the same files with the same content, times aside."""
    actual, expected = contents(run), contents(reference)
    # pytest explains asserts of test modules only.
    lost, added = sorted(expected.keys() - actual), sorted(actual.keys() - expected)
    assert not lost and not added, f"lacks {lost}, has {added} besides"
    different = [name for name, value in expected.items() if actual[name] != value]
    assert not different, f"differ: {different}"
