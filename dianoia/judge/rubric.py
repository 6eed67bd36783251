"""A rubric adds the weighted rules of a stage up to one reward and keeps the breakdown.

In: rules with weights, then rollouts. Out: a `Score` each. Left out: what the rules measure, and
advantages. By default every weight is 1: `R = R_accuracy + R_format`
(DeepSeek-R1, arXiv 2501.12948v2, eq. 4).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from dianoia.base.errors import ConfigError, ProblemFileError, UserError
from dianoia.base.records import Rollout, Score
from dianoia.judge.rules import Rule

MOST = 1e12
"""Size of a reward, its square within float32's range by far."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """The rules of a stage. Raises ConfigError without rules and for two rules of one name."""

    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        if not names:
            raise ConfigError("the rubric has no rule, so every reward would be 0; add one")
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(
                    f"two rules of the rubric are named {name!r}, so the breakdown would keep one "
                    "of them; rename or remove one"
                )

    def score(self, rollout: Rollout) -> Score:
        """Weighted sum of the rules that apply.

        Raises ProblemFileError when none applies, since the total would be a 0 that nobody gave,
        and UserError when a rule's value or the sum is not a finite number, or beyond `MOST`.
        """
        parts = {rule.name: _finite(rule, rollout) for rule in self.rules}
        if all(value is None for value in parts.values()):
            raise ProblemFileError(_nothing_applies(rollout, list(parts)))
        total = math.fsum(rule.weight * (parts[rule.name] or 0.0) for rule in self.rules)
        if not abs(total) <= MOST:
            raise UserError(_too_large(f"the reward {total:g}, added up by the weights,", rollout))
        return Score(total, parts)

    def settled(self, scores_G: Sequence[Score]) -> list[Score]:
        """The scores of a group, in which one that no rule with a weight applies to has the mean of the others.

        Its advantage is then 0 and moves nobody's baseline: it teaches nothing, as None means. TRL leaves such a
        sample out of its group's mean and deviation; here it stays in the deviation, which is that much smaller.
        """
        paying = [rule.name for rule in self.rules if rule.weight]
        scored = [any(score.parts[name] is not None for name in paying) for score in scores_G]
        totals = [score.total for score, counts in zip(scores_G, scored, strict=True) if counts]
        mean = fmean(totals) if totals else 0.0
        return [
            score if counts else replace(score, total=mean)
            for score, counts in zip(scores_G, scored, strict=True)
        ]


def _finite(rule: Rule, rollout: Rollout) -> float | None:
    value = rule.measure(rollout)
    if value is not None and not math.isfinite(value):
        raise UserError(
            f"rule {rule.name!r} gave {value!r} to sample {rollout.sample} of problem "
            f"{rollout.problem.id!r}; one such reward spoils its whole group. "
            "Return a finite number, or None where the rule does not apply"
        )
    if value is not None and abs(value) > MOST:
        raise UserError(_too_large(f"rule {rule.name!r} gave {value:g}, which", rollout))
    return value


def _too_large(what: str, rollout: Rollout) -> str:
    return (
        f"{what} of sample {rollout.sample} of problem {rollout.problem.id!r} is beyond {MOST:g}; rewards are squared in "
        "float32, where such a one is lost or infinite. Scale it down: within a group only differences count"
    )


def _nothing_applies(rollout: Rollout, names: list[str]) -> str:
    problem = rollout.problem
    return (
        f"no rule applies to problem {problem.id!r} ({', '.join(names)}), so it has no reward: "
        f"verifier {problem.verifier!r} probably cannot read its gold answer "
        f"{problem.answer[:80]!r}. Check the problem's answer column, name another "
        "verifier, or add the format rule"
    )
