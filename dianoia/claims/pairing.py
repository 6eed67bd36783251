"""Two checkpoints problem by problem: means of a metric over the samples of each problem that both were measured on.

In: the files of means per problem that evaluate stages have left. Out: pairs of values, or why there are none. The prompt
templates of the two may differ, since what is asked does not.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from dianoia.base.errors import DamagedFile
from dianoia.config import EvaluateStage
from dianoia.recipe.graph import Stage, result_names
from dianoia.storage.problem_table import ProblemMeans, read_problem_means
from dianoia.storage.run_directory import RunDirectory, check_output

MeansByDomain = Mapping[str, Sequence[ProblemMeans]]

_COLUMNS = {
    "pass@1": "accuracy",
    "thought_tokens": "thought_tokens",
    "reflection": "reflection",
    "reflecting": "reflecting",
    "target_language": "target_language",
}
"""Column of each metric that can be paired."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The values of two checkpoints on the same problems; None where no sample of a problem has the value."""

    first_P: Sequence[float | None]
    second_P: Sequence[float | None]


def pair(
    first: Sequence[ProblemMeans] | None, second: Sequence[ProblemMeans] | None, metric: str
) -> Pairs | str:
    """Return the values of a metric, problem by problem; a text that says why where they cannot be paired."""
    if metric not in _COLUMNS or first is None or second is None:
        return "no values per problem"
    ours, theirs = ({(row.problem, row.question): row for row in rows} for rows in (first, second))
    if len(ours) < len(first) or len(theirs) < len(second):
        return "a problem occurs twice"
    # The values compared are means over all problems of each, so a part of them says too little.
    if ours.keys() != theirs.keys():
        return "measured on other problems"
    column = _COLUMNS[metric]
    return Pairs(
        [getattr(row, column) for row in ours.values()],
        [getattr(theirs[key], column) for key in ours],
    )


def read_means(
    stages: Mapping[str, Mapping[str, Any]], run: RunDirectory, done: Collection[str]
) -> dict[str, dict[str, list[ProblemMeans]]]:
    """Return the means per problem by checkpoint, as results.json names it, and domain.

    `stages`: tables of the stages as in recipe.json. Of a domain that two stages have measured the later one counts, as in
    results.json. Empty for a run whose evaluate stages this version cannot read, or that was made before the files were.
    """
    try:
        # Evaluate stages alone: others have no say in the names.
        evaluations: dict[str, Stage] = {
            name: EvaluateStage.model_validate(table)
            for name, table in stages.items()
            if table.get("kind") == "evaluate"
        }
    except ValidationError:
        return {}
    means: dict[str, dict[str, list[ProblemMeans]]] = {}
    for name in evaluations:
        if name not in done:
            continue
        directory, names = run.stage(name), result_names(name, evaluations)
        for file in directory.problem_means_files():
            check_output(directory, file)
            checkpoint, rows = read_problem_means(file)
            if checkpoint not in names:
                raise DamagedFile(f"{file}: the stage evaluates no {checkpoint!r}; remove the file")
            by_domain: dict[str, list[ProblemMeans]] = {}
            for row in rows:
                by_domain.setdefault(row.domain, []).append(row)
            means.setdefault(names[checkpoint], {}).update(by_domain)
    return means
