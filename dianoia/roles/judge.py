"""From rollouts to scored groups: the recipe's rewards as a rubric, the problems' own verifiers."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from dianoia.algo.advantage import soft_overlong
from dianoia.base.config import RewardSettings
from dianoia.base.records import Group, Problem, Rollout
from dianoia.rewards import rules
from dianoia.rewards.rubric import Rubric
from dianoia.rewards.rules import Rule
from dianoia.tasks.catalog import AHEAD, CONCURRENT, VERIFIERS

_Grade = TypeVar("_Grade")


def verify(problem: Problem, answer: str) -> float | None:
    """The problem's own verifier on an answer."""
    return VERIFIERS[problem.verifier](problem, answer)


def training_rubric(rewards: RewardSettings, max_tokens: int, seed: int) -> Rubric:
    """Reward_rule + Reward_language (eq. 4, 7); a rule of weight 0 still is measured where it costs nothing."""
    accuracy = rules.accuracy(verify, rewards.accuracy)
    return Rubric((accuracy, *general_rules(rewards, max_tokens, seed)))


def general_rules(rewards: RewardSettings, max_tokens: int, seed: int) -> tuple[Rule, ...]:
    """What holds for every rollout, one of a general prompt too, whose verifier is not asked (eq. 8 to 10)."""
    chosen = [rules.format_rule(rewards.format)]
    if rewards.language:
        chosen.append(rules.language(weight=rewards.language))
    if rewards.random:
        chosen.append(rules.random_reward(seed, rewards.random))
    if rewards.overlong_cache:
        cache = rewards.overlong_cache
        chosen.append(rules.overlong(lambda n: soft_overlong(n, max_tokens, cache)))
    return tuple(chosen)


def evaluation_rubric() -> Rubric:
    """Accuracy and format, the same rules as in training."""
    return Rubric((rules.accuracy(verify), rules.format_rule()))


def judge(rubric: Rubric, rollouts_PG: Sequence[Sequence[Rollout]]) -> list[Group]:
    """Score every rollout."""
    scores = iter(each(rubric.score, [r for rollouts_G in rollouts_PG for r in rollouts_G]))
    return [
        Group(
            rollouts_G[0].problem,
            tuple(rollouts_G),
            tuple(islice(scores, len(rollouts_G))),
        )
        for rollouts_G in rollouts_PG
    ]


def each(grade: Callable[[Rollout], _Grade], rollouts: Sequence[Rollout]) -> list[_Grade]:
    """Grades in order. What can be graded ahead is; threads wait for verifiers that wait for other processes."""
    grade_ahead(rollouts)
    if not any(rollout.problem.verifier in CONCURRENT for rollout in rollouts):
        return [grade(rollout) for rollout in rollouts]
    with ThreadPoolExecutor() as threads:
        return list(threads.map(grade, rollouts))


def grade_ahead(rollouts: Sequence[Rollout]) -> None:
    """Hand answers to the verifiers that grade many at once; may be called from any thread, at any time."""
    for name, many in AHEAD.items():
        pairs = [
            (rollout.problem, rollout.answer)
            for rollout in rollouts
            if rollout.answer is not None and rollout.problem.verifier == name
        ]
        if pairs:
            many(pairs)
