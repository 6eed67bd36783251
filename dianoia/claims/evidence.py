"""What the rules may look at: estimates and held-out curves by the part that a checkpoint plays.

In: a recipe with its `[claims]` table, a run directory, and the evaluations gathered from its stages. Out:
`Evidence`, whose methods raise `Missing` for a number that is not there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from dianoia.algo.estimates import Estimate
from dianoia.claims.intervals import Bounded, mean
from dianoia.config import DataSettings
from dianoia.storage.run_directory import RunDirectory, read_journal

REASONING = ("math", "code", "stem", "logic")
"""The domains whose mean is called reasoning, as the paper's reasoning prompts (table 4)."""

Domains = Mapping[str, Mapping[str, Any]]
"""By domain and metric: an estimate as `results.json` holds it."""
Rows = tuple[Mapping[str, Any], ...]


class Missing(Exception):
    """A number that a rule needs was not measured; the message names it."""


@dataclass(frozen=True, slots=True)
class Course:
    """An rl stage from its first to its last step."""

    problems: str
    """What its held-out curve is drawn on."""
    rows: Rows
    """`metrics.jsonl`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run, by the parts that its checkpoints play."""

    parts: Mapping[str, str]
    """Checkpoint by part."""
    evaluations: Mapping[str, Domains]
    """By checkpoint."""
    by_difficulty: Mapping[str, Mapping[str, Domains]]
    """By checkpoint, domain and difficulty."""
    courses: Mapping[str, Course]
    """By part: only those that are rl stages of this recipe."""

    def estimate(self, part: str, domain: str, metric: str) -> Bounded:
        """A metric of a part's checkpoint; `reasoning` is the mean of four domains."""
        if domain == "reasoning":
            return mean([self.estimate(part, one, metric) for one in REASONING])
        found = self.evaluations.get(self.parts[part], {}).get(domain, {}).get(metric)
        if found is None:
            raise Missing(f"no {metric} of {part} ({self.parts[part]}) on {domain} problems")
        return Estimate(**found)

    def problems(self, part: str, domain: str, metric: str) -> int:
        """How many problems stand behind an estimate."""
        domains = REASONING if domain == "reasoning" else (domain,)
        measured = self.evaluations.get(self.parts[part], {})
        return sum(int(measured.get(one, {}).get(metric, {}).get("n") or 0) for one in domains)

    def levels(self, part: str, domain: str, metric: str) -> list[tuple[float, Bounded]]:
        """A metric by difficulty, easiest first."""
        found = self.by_difficulty.get(self.parts[part], {}).get(domain, {})
        named = [
            (float(level), metrics[metric]) for level, metrics in found.items() if metric in metrics
        ]
        if not named:
            raise Missing(f"no {metric} of {part} ({self.parts[part]}) on {domain} by difficulty")
        return [(level, Estimate(**e)) for level, e in sorted(named, key=lambda pair: pair[0])]

    def course(self, part: str) -> Course:
        """The stage of a part."""
        if part not in self.courses:
            raise Missing(
                f"{part} ({self.parts[part]}) is no finished rl stage of this recipe, so it has no curve"
            )
        return self.courses[part]

    def curve(self, part: str, *metrics: str) -> list[tuple[float, ...]]:
        """(step, value of each metric) of every row that has them all."""
        keys = ("step", *metrics)
        rows = [tuple(row.get(key) for key in keys) for row in self.course(part).rows]
        points = [row for row in rows if all(isinstance(value, int | float) for value in row)]
        if not points:
            raise Missing(
                f"no {' and '.join(metrics)} in metrics.jsonl of {part} ({self.parts[part]})"
            )
        return [tuple(float(value) for value in row if value is not None) for row in points]


def gather(
    parts: Mapping[str, str],
    stages: Mapping[str, Mapping[str, Any]],
    run: RunDirectory,
    done: Collection[str],
    results: Mapping[str, Any],
) -> Evidence:
    """Return the evidence of a run.

    Args:
        parts: checkpoint by part of the paper.
        stages: tables of the stages as in recipe.json, by name.
        done: stages whose curves count.
        results: the content of results.json; its `evaluations` and `by_difficulty` are used.
    """
    return Evidence(
        parts,
        results["evaluations"],
        results["by_difficulty"],
        {
            part: Course(
                _problem_set(stages[name]["problems"]), tuple(read_journal(run.stage(name).metrics))
            )
            for part, name in parts.items()
            if name in done and stages.get(name, {}).get("kind") == "rl"
        },
    )


def _problem_set(problems: str | Mapping[str, Any]) -> str:
    """Return the name of a problem set, which a recipe gives as a name or as a `[data]` table."""
    return problems if isinstance(problems, str) else str(DataSettings.model_validate(problems))
