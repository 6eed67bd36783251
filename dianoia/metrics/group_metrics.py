"""Metrics of scored groups: those of evaluations and of training curves.

In: groups. Out: an `Estimate` per metric, and the means of every problem. Not here: rows of `metrics.jsonl` (`metrics.training_metrics`).

Every value is first averaged over the samples of a problem, then over problems, with a 95 % interval over
problems. The same groups, and so the same scorer, serve training and evaluation.

Decisions where the paper is silent:
1. Thought length, reflection words and language are over finished rollouts: a malformed or truncated one
   has no thought. A problem without any is left out; `n` counts the problems that remain.
2. A thought's target language is the language of its question. A language that `text.language` cannot tell from
   others gives no share.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from dianoia.algo.estimates import (
    Estimate,
    cons_at_k,
    estimate,
    estimate_unbounded,
    estimate_within,
    majority_P,
    mean_pass_at_k,
    pass_at_1,
    vote_gain,
)
from dianoia.base.records import Group, Rollout, RolloutStatus
from dianoia.metrics.most_common_answer import most_common_answer, most_common_gold
from dianoia.metrics.votes import votes_PG
from dianoia.storage.problem_table import ProblemMeans, question_digest
from dianoia.text.language import is_measurable, language_share
from dianoia.text.reflection import reflection_words

TokenCounter = Callable[[Sequence[str]], list[int]]
"""Texts to their numbers of tokens."""


class Thought(NamedTuple):
    """Measurements of one finished rollout's thought."""

    tokens: int
    blank: bool
    """True if it holds nothing but white space, in which a collapse of training ends."""
    reflection: int
    """Number of reflection words."""
    language: float | None
    """Share of its words in the question's language; None without words."""


def thoughts_of(groups: Sequence[Group], count_tokens: TokenCounter) -> list[list[Thought]]:
    """Measure the thoughts of each group's finished rollouts, in order."""
    # One call of the tokenizer for all texts, then dealt out in the same order.
    texts = [r.thought for g in groups for r in g.rollouts if r.thought is not None]
    tokens = iter(count_tokens(texts))
    return [
        [
            _thought(rollout, rollout.thought, next(tokens))
            # Truncated and malformed rollouts have no thought (decision 1).
            for rollout in group.rollouts
            if rollout.thought is not None
        ]
        for group in groups
    ]


def _thought(rollout: Rollout, text: str, tokens: int) -> Thought:
    language = rollout.problem.language
    # A language that cannot be measured has no share, rather than a share of 0.
    share = language_share(text, language) if is_measurable(language) else None
    return Thought(tokens, not text.strip(), reflection_words(text).total(), share)


def right_PG(groups: Sequence[Group]) -> list[list[float]]:
    """Return the accuracy of every sample; None (an unreadable gold answer) counts as 0."""
    return [[score.parts["accuracy"] or 0.0 for score in group.scores] for group in groups]


def measures(
    groups: Sequence[Group],
    count_tokens: TokenCounter,
    pass_at: Sequence[int] = (),
) -> dict[str, Estimate]:
    """Measure the thoughts of groups, and compute the metrics that `estimates_of` gives."""
    return estimates_of(groups, thoughts_of(groups, count_tokens), pass_at)


def estimates_of(
    groups: Sequence[Group],
    thoughts_PG: Sequence[Sequence[Thought]],
    pass_at: Sequence[int] = (),
) -> dict[str, Estimate]:
    """Compute the metrics of `results.json` over groups of equal size n; a metric without any value is left out.

    `thoughts_PG`: what `thoughts_of` gives for these groups. `pass_at`: values of k, at most n, for which pass@k is
    estimated besides 1 and n.
    """
    # The same k in every group, since it is part of the metrics' names.
    k = len(groups[0].rollouts)
    grades, votes = right_PG(groups), votes_PG(groups)
    most_common = most_common_answer(groups)
    estimates: dict[str, Estimate | None] = {
        "pass@1": pass_at_1(grades),
        # What the most common gold answer would score: accuracy below it shows no skill.
        "baseline": estimate(most_common_gold([group.problem for group in groups]).share_P),
        "one_answer": None if most_common is None else estimate(most_common.share_P),
        f"cons@{k}": cons_at_k(grades, votes),
        "vote_gain": vote_gain(grades, votes),
        **{f"pass@{fewer}": mean_pass_at_k(grades, fewer) for fewer in pass_at if 1 < fewer < k},
        # For k = 1 this replaces the entry of the same name by the same value.
        f"pass@{k}": pass_at_1(grades) if k == 1 else mean_pass_at_k(grades, k),
        "format": _share(groups, RolloutStatus.FINISHED),
        "truncated": _share(groups, RolloutStatus.TRUNCATED),
        **{
            name: _over_thoughts(thoughts_PG, value, is_share=is_share)
            for name, (value, is_share) in _OF_THOUGHTS.items()
        },
    }
    return {name: value for name, value in estimates.items() if value is not None}


_OF_THOUGHTS: Mapping[str, tuple[Callable[[Thought], float | None], bool]] = {
    "thought_tokens": (lambda thought: thought.tokens, False),
    "reflection": (lambda thought: thought.reflection, False),
    "reflecting": (lambda thought: thought.reflection > 0, True),
    "target_language": (lambda thought: thought.language, True),
}
"""Metrics of thoughts: the value of a thought, and whether it is a share."""


def problem_means(
    groups: Sequence[Group], thoughts_PG: Sequence[Sequence[Thought]]
) -> list[ProblemMeans]:
    """Return the means of every problem, of which `estimates_of` takes the means and intervals over problems."""
    grades_PG = right_PG(groups)
    majorities_P = majority_P(grades_PG, votes_PG(groups))
    return [
        ProblemMeans(
            group.problem.id,
            question_digest(group.problem),
            group.problem.domain,
            group.problem.difficulty,
            samples=len(group.rollouts),
            accuracy=fmean(grades_G),
            majority=majority,
            format=_share_of(group, RolloutStatus.FINISHED),
            truncated=_share_of(group, RolloutStatus.TRUNCATED),
            thoughts=len(thoughts_G),
            **{name: _mean_of(thoughts_G, value) for name, (value, _) in _OF_THOUGHTS.items()},
        )
        for group, grades_G, majority, thoughts_G in zip(
            groups, grades_PG, majorities_P, thoughts_PG, strict=True
        )
    ]


def by_domain(groups: Sequence[Group]) -> Mapping[str, list[Group]]:
    """Split groups by the domain of their problem."""
    return _split(groups, lambda group: group.problem.domain)


def by_difficulty(groups: Sequence[Group]) -> Mapping[str, list[Group]]:
    """Split groups by difficulty, easiest first; problems without one are left out."""
    # Sorted first, since the result keeps the order of first appearance.
    rated = sorted(
        (g for g in groups if g.problem.difficulty is not None),
        key=lambda g: g.problem.difficulty or 0,
    )
    return _split(rated, lambda group: str(group.problem.difficulty))


def _split(groups: Iterable[Group], key: Callable[[Group], str]) -> Mapping[str, list[Group]]:
    parts: defaultdict[str, list[Group]] = defaultdict(list)
    for group in groups:
        parts[key(group)].append(group)
    return parts


def _share(groups: Sequence[Group], status: RolloutStatus) -> Estimate:
    """Estimate the share of rollouts that ended with a status."""
    return estimate([_share_of(group, status) for group in groups])


def _share_of(group: Group, status: RolloutStatus) -> float:
    return fmean(rollout.status is status for rollout in group.rollouts)


def _mean_of(
    thoughts_G: Sequence[Thought], value: Callable[[Thought], float | None]
) -> float | None:
    """Return the mean of a value of a problem's thoughts; None if no thought has it."""
    values_G = [v for v in map(value, thoughts_G) if v is not None]
    return fmean(values_G) if values_G else None


def _over_thoughts(
    thoughts_PG: Sequence[Sequence[Thought]],
    value: Callable[[Thought], float | None],
    *,
    is_share: bool,
) -> Estimate | None:
    """Estimate the mean of a value of thoughts; None if no thought has it. The interval of a share ends at 0 and 1."""
    # First over the thoughts of a problem, then over problems, as every metric.
    means_P = [_mean_of(thoughts_G, value) for thoughts_G in thoughts_PG]
    # A problem without a value is left out, and `n` counts the others (decision 1).
    values_P = [mean for mean in means_P if mean is not None]
    if not values_P:
        return None
    return estimate_within(values_P, 0.0, 1.0) if is_share else estimate_unbounded(values_P)
