"""What a set of scored groups amounts to: the metrics of evaluations and of training curves.

Every value is first averaged over the samples of a problem, then over problems, with a 95 % interval over
problems. The same groups, and so the same scorer, serve training and evaluation.

Decisions where the paper is silent:
1. Thought length, reflection words and language are over finished rollouts: a malformed or truncated one
   has no thought. A problem without any is left out, and `n` says how many remain.
2. A thought's target language is the language of its question. Where that cannot be told from others here,
   the thought has no share.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from dianoia.algo.estimates import (
    Estimate,
    cons_at_k,
    estimate,
    estimate_unbounded,
    mean_pass_at_k,
    pass_at_1,
    vote_gain,
)
from dianoia.base.records import Group, Rollout, RolloutStatus
from dianoia.metrics.commonest_answer import commonest_answer, commonest_gold
from dianoia.metrics.votes import votes_PG
from dianoia.text.language import is_measurable, language_share
from dianoia.text.reflection import reflection_words

Counter = Callable[[Sequence[str]], list[int]]
"""Token counts of texts."""


@dataclass(frozen=True, slots=True)
class Thought:
    """One finished rollout's thought in numbers."""

    tokens: int
    blank: bool
    """Nothing but white space: what a collapse ends in."""
    reflection: int
    """Reflection words in it."""
    language: float | None
    """Share of its words in the question's language; None without words."""


def thoughts_of(groups: Sequence[Group], count_tokens: Counter) -> list[list[Thought]]:
    """The thoughts of each group's finished rollouts, in order."""
    texts = [r.thought for g in groups for r in g.rollouts if r.thought is not None]
    tokens = iter(count_tokens(texts))
    return [
        [
            _thought(rollout, rollout.thought, next(tokens))
            for rollout in group.rollouts
            if rollout.thought is not None
        ]
        for group in groups
    ]


def _thought(rollout: Rollout, text: str, tokens: int) -> Thought:
    language = rollout.problem.language
    share = language_share(text, language) if is_measurable(language) else None
    return Thought(tokens, not text.strip(), reflection_words(text).total(), share)


def right_PG(groups: Sequence[Group]) -> list[list[float]]:
    """Grade of every sample; a gold that cannot be read counts as not right."""
    return [[score.parts["accuracy"] or 0.0 for score in group.scores] for group in groups]


def measures(groups: Sequence[Group], count_tokens: Counter) -> dict[str, Estimate]:
    """The metrics of `results.json` over groups of equal size k."""
    k = len(groups[0].rollouts)
    grades, votes = right_PG(groups), votes_PG(groups)
    thoughts = thoughts_of(groups, count_tokens)
    given = commonest_answer(groups)
    found: dict[str, Estimate | None] = {
        "pass@1": pass_at_1(grades),
        "baseline": estimate(commonest_gold([group.problem for group in groups]).share_P),
        "one_answer": None if given is None else estimate(given.share_P),
        f"cons@{k}": cons_at_k(grades, votes),
        "vote_gain": vote_gain(grades, votes),
        f"pass@{k}": pass_at_1(grades) if k == 1 else mean_pass_at_k(grades, k),
        "format": _share(groups, RolloutStatus.FINISHED),
        "truncated": _share(groups, RolloutStatus.TRUNCATED),
        "thought_tokens": _over_thoughts(thoughts, lambda t: t.tokens),
        "reflection": _over_thoughts(thoughts, lambda t: t.reflection),
        "reflecting": _over_thoughts(thoughts, lambda t: t.reflection > 0),
        "target_language": _over_thoughts(thoughts, lambda t: t.language),
    }
    return {name: value for name, value in found.items() if value is not None}


def by_domain(groups: Sequence[Group]) -> Mapping[str, list[Group]]:
    """Groups by the domain of their problem."""
    return _split(groups, lambda group: group.problem.domain)


def by_difficulty(groups: Sequence[Group]) -> Mapping[str, list[Group]]:
    """Groups by difficulty, easiest first; problems without one are left out."""
    known = sorted(
        (g for g in groups if g.problem.difficulty is not None),
        key=lambda g: g.problem.difficulty or 0,
    )
    return _split(known, lambda group: str(group.problem.difficulty))


def _split(groups: Iterable[Group], key: Callable[[Group], str]) -> Mapping[str, list[Group]]:
    parts: defaultdict[str, list[Group]] = defaultdict(list)
    for group in groups:
        parts[key(group)].append(group)
    return parts


def _share(groups: Sequence[Group], status: RolloutStatus) -> Estimate:
    return estimate([fmean(r.status is status for r in group.rollouts) for group in groups])


def _over_thoughts(
    thoughts_PG: Sequence[Sequence[Thought]], value: Callable[[Thought], float | None]
) -> Estimate | None:
    values_P = []
    for thoughts in thoughts_PG:
        known = [v for v in map(value, thoughts) if v is not None]
        if known:
            values_P.append(fmean(known))
    return estimate_unbounded(values_P) if values_P else None
