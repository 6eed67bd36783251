"""Rollouts to read: held-out problems before and after training, and groups from training.

In: the rollout files of the stages. Out: HTML with JSON tables that the page's scripts show, within a budget of
bytes, so that the report stays small enough to send. Texts and counts say where something was cut. Not here:
highlighting and layout (`assets/rollouts.js`, `assets/training.js`).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from dianoia.base.errors import DamagedFile
from dianoia.report.html_values import code, data_block, embed, missing, paragraph
from dianoia.report.run_reader import Run, Stage, number
from dianoia.report.sections.stage_sentences import reward_weights
from dianoia.storage.run_directory import StageDirectory, check_output
from dianoia.text.reflection import PATTERN

MAX_PROBLEMS = 64
"""Held-out problems to read."""
MAX_SAMPLES = 4
"""Samples per held-out problem and checkpoint."""
MAX_STEPS = 6
"""Training steps to read per stage, first and last included."""
MAX_GROUPS = 4
"""Groups per step."""
MAX_GROUP_SAMPLES = 16
"""Samples per group."""
MAX_CHARACTERS = 6000
"""Characters per text."""
HELDOUT_BYTES = 1_200_000
TRAINING_BYTES = 500_000

Row = Mapping[str, Any]
"""A row of a rollout file."""
Table = dict[str, Any]
"""A JSON object for the page's scripts."""


def section(run: Run) -> str:
    """Return both viewers with their data. A file that cannot be read is named in `run.damaged`."""
    heldout, training = heldout_problems(run), training_groups(run)
    blocks = {"heldout": heldout, "training": training, "reflection": PATTERN}
    return (
        f"<h3>Held-out problems before and after</h3>{_heldout_viewer(heldout)}"
        f"<h3>Groups in training</h3>{_training_viewer(training)}"
        + "".join(data_block(name, value) for name, value in blocks.items())
    )


def _heldout_viewer(table: Table) -> str:
    shown, total = len(table["problems"]), table["of"]
    if not shown:
        return missing("There are no rollouts of an evaluate stage to read.")
    names = ", ".join(code(name) for name in table["checkpoints"])
    count = f"{shown} of the {total}" if shown < total else f"All {total}"
    return (
        paragraph(
            f"{count} held-out problems whose rollouts were saved, with up to {MAX_SAMPLES} samples by each of "
            f"{names}. They are not selected by outcome. <mark>Highlighted</mark> words are counted as reflection.",
        )
        + '<div id="heldout" class="viewer"></div>'
    )


def _training_viewer(table: Table) -> str:
    if not table["stages"]:
        return missing("There are no rollouts of a reinforcement learning stage to read.")
    return (
        paragraph(
            "What the algorithm saw: all samples of one problem. The advantage is the reward relative to the "
            "group: a sample above 0 becomes more likely, a sample below 0 less likely. Groups with different "
            "rewards come first. The reward is the sum of its parts; that of a reward model is its score.",
        )
        + '<div id="training" class="viewer"></div>'
    )


def heldout_problems(run: Run) -> Table:
    """Return held-out problems with their samples by each checkpoint.

    Only problems with samples of the most checkpoints are shown, so that every pair can be compared.
    """
    files = [path for stage in run.of_kind("evaluate") for path in stage.rollout_files]
    # Files are named after checkpoints. Unknown ones go last.
    order = list(run.evaluations)

    def position(checkpoint: str) -> int:
        return order.index(checkpoint) if checkpoint in order else len(order)

    by_problem: dict[str, Table] = {}
    for path in sorted(files, key=lambda path: position(path.stem)):
        _collect(by_problem, path, run.damaged)
    # A stage may have evaluated only some checkpoints on other problems: those have no partner to compare with.
    most = max((len(p["samples"]) for p in by_problem.values()), default=0)
    comparable = [p for p in by_problem.values() if len(p["samples"]) == most]
    problems = _within_budget(_evenly_spread(comparable, MAX_PROBLEMS), HELDOUT_BYTES)
    names = dict.fromkeys(name for problem in problems for name in problem["samples"])
    checkpoints = sorted(names, key=position)
    return {"checkpoints": checkpoints, "problems": problems, "of": len(by_problem)}


def _collect(by_problem: dict[str, Table], path: Path, damaged: list[str]) -> None:
    """Add the problems and samples of one rollout file to `by_problem`."""
    rows = _read(path, damaged)
    votes = _vote_counts(rows)
    for row in rows:
        checkpoint = str(row.get("checkpoint") or path.stem)
        problem = by_problem.setdefault(str(row.get("problem")), {**_problem(row), "samples": {}})
        samples = problem["samples"].setdefault(checkpoint, [])
        if len(samples) < MAX_SAMPLES:
            samples.append(_sample(row, votes))


def training_groups(run: Run) -> Table:
    """Return whole groups at a few steps of every reinforcement learning stage."""
    stages = [stage for stage in run.of_kind("rl") if stage.rollout_files]
    # An equal share per stage, and per step within it: one with long texts cannot crowd out the rest.
    budget = TRAINING_BYTES // max(1, len(stages))
    return {
        "stages": [
            table for stage in stages if (table := _stage(stage, budget, run.damaged))["steps"]
        ]
    }


def _stage(stage: Stage, budget: int, damaged: list[str]) -> Table:
    files = _evenly_spread(stage.rollout_files, MAX_STEPS)
    steps = []
    for path in files:
        groups = _within_budget(list(_groups(path, damaged)), budget // len(files))
        if groups:
            steps.append({"step": _step(path), "groups": groups})
    return {"name": stage.name, "weights": reward_weights(stage.settings), "steps": steps}


def _step(path: Path) -> int | str:
    """Return the step in the name of a rollout file, `step-00040`; the whole name if there is none."""
    digits = path.stem.removeprefix("step-")
    return int(digits) if digits.isascii() and digits.isdigit() else path.stem


def _groups(path: Path, damaged: list[str]) -> Iterator[Table]:
    # groupby() needs rows of one problem next to each other; the sort is stable, so samples keep their order.
    rows = sorted(_read(path, damaged), key=lambda row: str(row.get("problem")))
    groups = [list(group) for _, group in groupby(rows, key=lambda row: str(row.get("problem")))]
    # A group with equal rewards has no advantages, so the others come first.
    groups.sort(key=lambda group: len({row.get("reward") for row in group}) == 1)
    for group in groups[:MAX_GROUPS]:
        votes = _vote_counts(group)
        samples = [_sample(row, votes) for row in group[:MAX_GROUP_SAMPLES]]
        yield {**_problem(group[0]), "samples": samples}


def _vote_counts(rows: Sequence[Row]) -> Counter[tuple[str, float]]:
    """Count the samples that give the same answer, by problem and vote."""
    votes = ((str(row.get("problem")), number(row.get("vote"))) for row in rows)
    return Counter((problem, vote) for problem, vote in votes if vote is not None)


def _read(path: Path, damaged: list[str]) -> list[Row]:
    """Read the rows of a file; none if it cannot be read, which `damaged` is told."""
    try:
        # The manifest's digest comes first: a damaged Parquet file may still be readable, with wrong values.
        check_output(StageDirectory(path.parent.parent), path)
        rows: list[Row] = pyarrow.parquet.read_table(
            path, page_checksum_verification=True
        ).to_pylist()
    except DamagedFile as error:
        damaged.append(str(error))
        return []
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        first_line = str(error).partition("\n")[0]
        damaged.append(f"{path}: the rollouts cannot be read ({first_line})")
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


def _sample(row: Row, votes: Mapping[tuple[str, float], int]) -> Table:
    """Return one rollout, with the number of samples that give the same answer.

    The whole text is included only if it could not be parsed; otherwise thought and answer contain it.
    """
    thought, vote = row.get("thought"), number(row.get("vote"))
    return {
        "index": number(row.get("sample")),
        "outcome": _outcome(row),
        "fault": _text(row.get("fault")),
        "thought": None if thought is None else _text(str(thought).strip()),
        "answer": _text(row.get("answer")),
        "alike": None if vote is None else votes[str(row.get("problem")), vote],
        "text": _text(row.get("text")) if thought is None else None,
        "parts": _reward_parts(row),
        **{k: number(row.get(k)) for k in ("tokens", "reward", "advantage")},
    }


def _reward_parts(row: Row) -> dict[str, float]:
    """Return the unweighted parts of a rollout's reward by name: rules, functions and reward models."""
    try:
        parts = json.loads(str(row.get("parts") or "{}"))
    except ValueError:
        parts = {}
    # Files of older runs have columns for the paper's two rules only.
    parts = parts if isinstance(parts, dict) and parts else row
    names = parts if parts is not row else ("accuracy", "format")
    return {str(name): value for name in names if (value := number(parts.get(name))) is not None}


def _outcome(row: Row) -> str:
    """Return the outcome that the viewer filters by: the status, or for a finished sample its grade."""
    # Files of older runs may lack columns; every value may be None.
    status, accuracy = row.get("status"), number(row.get("accuracy"))
    if status in ("malformed", "truncated"):
        return str(status)
    if accuracy is None:
        return "ungraded"
    return "right" if accuracy >= 1 else "wrong"


def _text(value: object) -> str | None:
    """Return a text, cut at `MAX_CHARACTERS`."""
    if value is None:
        return None
    text = str(value)
    excess = len(text) - MAX_CHARACTERS
    if excess <= 0:
        return text
    return f"{text[:MAX_CHARACTERS]}\n[… cut here: {excess:,} more characters]"


def _evenly_spread(items: Sequence[Any], limit: int) -> list[Any]:
    """Return at most `limit` items, evenly spread, first and last included."""
    if len(items) <= limit:
        return list(items)
    return [items[round(i * (len(items) - 1) / (limit - 1))] for i in range(limit)]


def _within_budget(items: Sequence[Table], budget: int) -> list[Table]:
    """Return items in order until their JSON takes `budget` bytes."""
    within = []
    for item in items:
        # Measured as it will be written: escapes and UTF-8 make a text longer.
        budget -= len(embed(item).encode("utf-8", "replace"))
        if budget >= 0:
            within.append(item)
    return within
