"""Evidence for the claims: estimates and held-out curves by the part that a checkpoint plays; and the stage table.

In: the `[claims]` table of a recipe, a run directory, and the evaluations of its stages. Out: `Evidence`, whose methods
raise `Missing` for a number that was not measured, and the rows of the stage table.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from dianoia.algo.estimates import Estimate
from dianoia.claims.intervals import Bounded, mean
from dianoia.claims.pairing import MeansByDomain, Pairs, pair, read_means
from dianoia.config import DataSettings
from dianoia.storage.journal import read_journal
from dianoia.storage.run_directory import RunDirectory

REASONING = ("math", "code", "stem", "logic")
"""Domains whose mean is called reasoning, as in the paper's reasoning prompts (table 4)."""

_ROUNDING = 1e-9
"""Largest difference of two means of the same values."""

Domains = Mapping[str, Mapping[str, Any]]
"""Estimates by domain and metric, as `results.json` holds them."""
Rows = tuple[Mapping[str, Any], ...]


class Missing(Exception):
    """A number that a rule needs was not measured; the message names it."""


@dataclass(frozen=True, slots=True)
class Training:
    """An rl stage from its first to its last step."""

    problems: str
    """Problem set of its held-out curve."""
    rows: Rows
    """Rows of `metrics.jsonl`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Results of a run, by the parts that its checkpoints play."""

    parts: Mapping[str, str]
    """Checkpoint of each part."""
    evaluations: Mapping[str, Domains]
    """Estimates of each checkpoint."""
    by_difficulty: Mapping[str, Mapping[str, Domains]]
    """Estimates by checkpoint, domain and difficulty."""
    trainings: Mapping[str, Training]
    """The rl stages of this recipe, by part; other parts have none."""
    means: Mapping[str, MeansByDomain] = field(default_factory=dict)
    """Means per problem by checkpoint and domain; nothing for evaluations of earlier versions."""

    def estimate(self, part: str, domain: str, metric: str) -> Bounded:
        """Return a metric of a part's checkpoint; `reasoning` is the mean of four domains."""
        # Recursion: the mean gets its interval from those of the four domains.
        if domain == "reasoning":
            return mean([self.estimate(part, member, metric) for member in REASONING])
        table = self.evaluations.get(self.parts[part], {}).get(domain, {}).get(metric)
        if table is None:
            raise Missing(f"no {metric} of {part} ({self.parts[part]}) on {domain} problems")
        return Estimate(**table)

    def pairs(self, part: str, other: str, domain: str, metric: str) -> Pairs | str:
        """Return a metric of two parts problem by problem, or why it cannot be paired; `domain` is not `reasoning`."""
        first, second = (self.means.get(self.parts[p], {}).get(domain) for p in (part, other))
        pairs = pair(first, second, metric)
        if isinstance(pairs, str):
            return pairs
        # Means that are not those of the estimates, such as of an earlier evaluation, say nothing about them.
        for name, values_P in ((part, pairs.first_P), (other, pairs.second_P)):
            values = [value for value in values_P if value is not None]
            estimate = self.estimate(name, domain, metric)
            if not values or abs(fmean(values) - estimate.value) > _ROUNDING:
                return "no values per problem"
        return pairs

    def problem_count(self, part: str, domain: str, metric: str) -> int:
        """Return the number of problems behind an estimate."""
        domains = REASONING if domain == "reasoning" else (domain,)
        measured = self.evaluations.get(self.parts[part], {})
        return sum(
            int(measured.get(member, {}).get(metric, {}).get("n") or 0) for member in domains
        )

    def by_level(self, part: str, domain: str, metric: str) -> list[tuple[float, Bounded]]:
        """Return a metric at each level of difficulty, easiest first."""
        levels = self.by_difficulty.get(self.parts[part], {}).get(domain, {})
        tables = [
            (float(level), metrics[metric])
            for level, metrics in levels.items()
            if metric in metrics
        ]
        if not tables:
            raise Missing(f"no {metric} of {part} ({self.parts[part]}) on {domain} by difficulty")
        # Levels are keys of JSON, so texts: sort by number, 10 after 4.
        return [(level, Estimate(**table)) for level, table in sorted(tables, key=lambda t: t[0])]

    def training(self, part: str) -> Training:
        """Return the rl stage of a part."""
        if part not in self.trainings:
            raise Missing(
                f"{part} ({self.parts[part]}) is no finished rl stage of this recipe, so it has no curve"
            )
        return self.trainings[part]

    def curve(self, part: str, *metrics: str) -> list[tuple[float, ...]]:
        """Return (step, value of each metric) of every row that has all the metrics."""
        keys = ("step", *metrics)
        rows = [tuple(row.get(key) for key in keys) for row in self.training(part).rows]
        # Most rows are training steps without a held-out evaluation; they lack the metrics.
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
        run: the run directory.
        done: stages whose curves and means per problem count.
        results: the content of results.json; its `evaluations` and `by_difficulty` are used.
    """
    return Evidence(
        parts,
        results["evaluations"],
        results["by_difficulty"],
        {
            part: Training(
                _problem_set(stages[name]["problems"]), tuple(read_journal(run.stage(name).metrics))
            )
            for part, name in parts.items()
            # The curve of an unfinished stage would decide a claim too early.
            if name in done and stages.get(name, {}).get("kind") == "rl"
        },
        read_means(stages, run, done),
    )


def _problem_set(problems: str | Mapping[str, Any]) -> str:
    """Return the name of a problem set, which a recipe gives as a name or as a `[data]` table."""
    return problems if isinstance(problems, str) else str(DataSettings.model_validate(problems))


# The stage table ---------------------------------------------------------------------------------

TABLE_METRICS = ("pass@1", "baseline", "thought_tokens", "target_language")
"""Metrics of the table; cons@k follows the first, under its own k."""
TABLE_DOMAINS = (*REASONING, "reasoning", "general", "near-miss", "safety")
"""Domains in the order of the table; others that were evaluated follow."""

Row = dict[str, Any]


def stage_table(evidence: Evidence) -> list[Row]:
    """Return one row per evaluated checkpoint, in the order of its first part; it may play several parts."""
    # One checkpoint may play several parts, such as R1-Zero and GRPO.
    parts: dict[str, list[str]] = {}
    for part, checkpoint in evidence.parts.items():
        if evidence.evaluations.get(checkpoint):
            parts.setdefault(checkpoint, []).append(part)
    return [
        {"checkpoint": checkpoint, "parts": played, "domains": _domain_cells(played[0], evidence)}
        for checkpoint, played in parts.items()
    ]


def _domain_cells(part: str, evidence: Evidence) -> Row:
    measured = evidence.evaluations[evidence.parts[part]]
    # Domains of the paper first, in its order; unmeasured ones are left out below.
    domains = dict.fromkeys((*TABLE_DOMAINS, *measured))
    cells = {domain: _metric_cells(part, domain, evidence) for domain in domains}
    return {domain: metrics for domain, metrics in cells.items() if metrics}


def _metric_cells(part: str, domain: str, evidence: Evidence) -> Row:
    # A metric that was not measured has no cell, rather than a zero.
    cells: Row = {}
    first, *others = TABLE_METRICS
    for metric in (first, *_vote_metrics(part, domain, evidence), *others):
        try:
            estimate = evidence.estimate(part, domain, metric)
        except Missing:
            continue
        cells[metric] = {
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "n": evidence.problem_count(part, domain, metric),
        }
    return cells


def _vote_metrics(part: str, domain: str, evidence: Evidence) -> list[str]:
    """Return the name of cons@k in a domain, with its k; of `reasoning` where its domains have the same k. None for k = 1."""
    # A majority of one is the sample itself.
    measured = evidence.evaluations[evidence.parts[part]]
    domains = REASONING if domain == "reasoning" else (domain,)
    names = {
        metric
        for member in domains
        for metric in measured.get(member, {})
        if is_vote(metric) and metric != "cons@1"
    }
    return sorted(names) if len(names) == 1 else []


def is_vote(metric: str) -> bool:
    """Tell whether a metric is cons@k, for whichever k."""
    return metric.startswith("cons@")
