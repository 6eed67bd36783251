"""Runs `python -m dianoia` in a process of its own, kills it with SIGKILL, and compares what two runs left.

A moment is exact: the n-th time that a file is opened or a name is replaced (`Moment`); `kill_hook/` sits in the
process and kills it there. `killed_when` kills from outside, as soon as something is true.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dianoia.cli import main

ROOT = Path(__file__).parents[2]
SECONDS = 900


@dataclass(frozen=True, slots=True)
class Moment:
    """Right before the `count`-th event on a path that ends in a match of `pattern`."""

    pattern: str
    count: int = 1
    event: str = "os.rename"
    """`os.rename`: a file or folder that is written whole gets its name. `open`: a journal is appended to."""


def command(arguments: Sequence[str]) -> list[str]:
    """The real command."""
    return [sys.executable, "-m", "dianoia", *arguments]


def environment(**more: str) -> dict[str, str]:
    """That of this process, with the hook and the package on the path."""
    path = os.pathsep.join(map(str, (ROOT / "tests/smoke/kill_hook", ROOT)))
    return {**os.environ, "PYTHONPATH": path, **more}


def kill(arguments: Sequence[str], moment: Moment) -> None:
    """Run the command until the moment; a command that gets past it is an error."""
    where = f"{moment.event} {moment.pattern} {moment.count}"
    done = subprocess.run(
        command(arguments),
        env=environment(DIANOIA_KILL=where),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == -signal.SIGKILL, (
        f"{moment} never came, status {done.returncode}\n{done.stdout}{done.stderr}"
    )


def kill_when(arguments: Sequence[str], true: Callable[[], bool]) -> None:
    """Run the command and kill it from outside as soon as `true`."""
    with subprocess.Popen(command(arguments), env=environment(), stdout=subprocess.DEVNULL) as run:
        while not true():
            assert run.poll() is None, "the command ended before it was killed"
            time.sleep(0.001)
        run.kill()
    assert run.returncode == -signal.SIGKILL


def arguments(recipe: Path, out: Path) -> list[str]:
    """Of the command that runs a recipe."""
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
    found = renames([*arguments(recipe, reference), "--only", stage], folder / "moments")
    assert len(found) >= 8
    for count, name in enumerate(found, start=1):
        run = folder / f"killed-before-{count}-{Path(name).name}"
        shutil.copytree(start, run)
        command = [*arguments(recipe, run), "--only", stage]
        kill(command, Moment(".", count))
        assert main(command) == 0, name
        assert_same(run, reference)
        shutil.rmtree(run)


def renames(arguments: Sequence[str], log: Path) -> list[str]:
    """Run the command to its end; every name that is given to something whole, in order."""
    done = subprocess.run(
        command(arguments),
        env=environment(DIANOIA_MOMENTS=str(log)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return log.read_text(encoding="utf-8").splitlines()


# Comparing ---------------------------------------------------------------------------------------

_OF_ONE_RUN = ("run.json", "begun.json", "manifest.json")
"""Files that hold times under other keys, or the commands."""


def without_times(value: Any) -> Any:
    """A JSON value without the keys under which times stand."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not k.endswith(("seconds", "_per_second"))}
        return {key: without_times(inner) for key, inner in kept.items()}
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
    found, expected = contents(run), contents(reference)
    assert set(found) == set(expected)
    different = [name for name, value in expected.items() if found[name] != value]
    assert not different
