"""Rollouts to read: held-out problems before and after, and groups from training.

In: the rollout files of the stages. Out: tables that the page's script shows, within a budget of bytes, so
that the report stays small enough to send. Left out: highlighting and layout (`assets/rollouts.js`).
What is cut is said: in a text by "cut", in the counts by `of`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from dianoia.base.errors import DamagedFile
from dianoia.report.html_values import embed
from dianoia.report.run_reader import Run, Stage, number
from dianoia.storage.run_directory import StageDirectory, check_output

PROBLEMS = 64
"""Held-out problems to read."""
SAMPLES = 4
"""Samples of a held-out problem and checkpoint."""
STEPS = 6
"""Steps of training to read, first and last included."""
GROUPS = 4
"""Groups of a step."""
GROUP_SAMPLES = 16
"""Samples of a group."""
CHARACTERS = 6000
"""Of one text."""
HELDOUT_BYTES = 1_200_000
TRAINING_BYTES = 500_000

Row = Mapping[str, Any]
Table = dict[str, Any]


def heldout(run: Run) -> Table:
    """Problems with samples of every checkpoint, or of as many as there are, from all evaluate stages."""
    files = [path for stage in run.of_kind("evaluate") for path in stage.rollout_files]
    order = list(run.evaluations)
    files.sort(key=lambda path: order.index(path.stem) if path.stem in order else len(order))
    by_problem: dict[str, Table] = {}
    for path in files:
        _collect(by_problem, path, run.damaged)
    most = max((len(p["samples"]) for p in by_problem.values()), default=0)
    shared = [p for p in by_problem.values() if len(p["samples"]) == most]
    problems = _spread(shared, PROBLEMS)
    kept = _within(problems, HELDOUT_BYTES)
    names = list(dict.fromkeys(name for p in kept for name in p["samples"]))
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    return {"checkpoints": names, "problems": kept, "of": len(by_problem)}


def _collect(by_problem: dict[str, Table], path: Path, damaged: list[str]) -> None:
    rows = _read(path, damaged)
    alike = _alike(rows)
    for row in rows:
        checkpoint = str(row.get("checkpoint") or path.stem)
        problem = by_problem.setdefault(str(row.get("problem")), {**_problem(row), "samples": {}})
        samples = problem["samples"].setdefault(checkpoint, [])
        if len(samples) < SAMPLES:
            samples.append(_sample(row, alike))


def training(run: Run) -> Table:
    """Whole groups at a few steps of every reinforcement learning stage."""
    stages = [stage for stage in run.of_kind("rl") if stage.rollout_files]
    budget = TRAINING_BYTES // max(1, len(stages))
    return {
        "stages": [
            table for stage in stages if (table := _stage(stage, budget, run.damaged))["steps"]
        ]
    }


def _stage(stage: Stage, budget: int, damaged: list[str]) -> Table:
    files = _spread(stage.rollout_files, STEPS)
    steps = []
    for path in files:
        kept = _within(list(_groups(path, damaged)), budget // len(files))
        if kept:
            steps.append({"step": _step(path), "groups": kept})
    return {"name": stage.name, "steps": steps}


def _step(path: Path) -> int | str:
    digits = path.stem.removeprefix("step-")
    return int(digits) if digits.isascii() and digits.isdigit() else path.stem


def _groups(path: Path, damaged: list[str]) -> Iterator[Table]:
    rows = sorted(_read(path, damaged), key=lambda row: str(row.get("problem")))
    groups = [list(rows) for _, rows in groupby(rows, key=lambda row: str(row.get("problem")))]
    # Groups whose rewards differ teach something, so they are shown first.
    groups.sort(key=lambda rows: len({row.get("reward") for row in rows}) == 1)
    for rows in groups[:GROUPS]:
        alike = _alike(rows)
        samples = [_sample(row, alike) for row in rows[:GROUP_SAMPLES]]
        yield {**_problem(rows[0]), "samples": samples}


def _alike(rows: Sequence[Row]) -> Counter[tuple[str, float]]:
    """How many samples of a problem vote alike, by problem and vote."""
    votes = ((str(row.get("problem")), number(row.get("vote"))) for row in rows)
    return Counter((problem, vote) for problem, vote in votes if vote is not None)


def _read(path: Path, damaged: list[str]) -> list[Row]:
    """Rows of a file; none if it cannot be read, since a report of the rest is better than none."""
    try:
        check_output(StageDirectory(path.parent.parent), path)
        rows: list[Row] = pyarrow.parquet.read_table(
            path, page_checksum_verification=True
        ).to_pylist()
    except DamagedFile as error:
        damaged.append(str(error))
        return []
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        damaged.append(f"{path}: the rollouts cannot be read ({str(error).partition(chr(10))[0]})")
        return []
    return rows


def _problem(row: Row) -> Table:
    difficulty = number(row.get("difficulty"))
    return {
        "id": _text(row.get("problem")),
        "question": _text(row.get("question")),
        "gold": _text(row.get("gold")),
        "domain": _text(row.get("domain")),
        "language": _text(row.get("language")),
        "difficulty": None if difficulty is None else int(difficulty),
    }


def _sample(row: Row, alike: Mapping[tuple[str, float], int]) -> Table:
    """One rollout, with the number of samples that vote as it does. The whole text only where it could not be parsed: otherwise thought and answer say it."""
    thought, vote = row.get("thought"), number(row.get("vote"))
    return {
        "index": number(row.get("sample")),
        "outcome": _outcome(row),
        "fault": _text(row.get("fault")),
        "thought": None if thought is None else _text(str(thought).strip()),
        "answer": _text(row.get("answer")),
        "alike": None if vote is None else alike[str(row.get("problem")), vote],
        "text": _text(row.get("text")) if thought is None else None,
        **{k: number(row.get(k)) for k in ("tokens", "reward", "accuracy", "format", "advantage")},
    }


def _outcome(row: Row) -> str:
    """How the reader sorts samples: the status, and for a finished one whether it is right."""
    status, accuracy = row.get("status"), number(row.get("accuracy"))
    if status in ("malformed", "truncated"):
        return str(status)
    if accuracy is None:
        return "ungraded"
    return "right" if accuracy >= 1 else "wrong"


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = str(value)
    rest = len(text) - CHARACTERS
    return text if rest <= 0 else f"{text[:CHARACTERS]}\n[… cut here: {rest:,} characters more]"


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` items, evenly spread, first and last included."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _within(items: Sequence[Table], budget: int) -> list[Table]:
    """The items that fit into the budget together, in order."""
    kept = []
    for item in items:
        budget -= len(embed(item).encode("utf-8", "replace"))
        if budget >= 0:
            kept.append(item)
    return kept
