"""From rollouts to scored groups: the recipe's rewards as a rubric, the problems' own verifiers."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from dianoia.algo.advantage import soft_overlong
from dianoia.base.records import Group, Problem, Rollout
from dianoia.config import CosineSettings, RewardSettings
from dianoia.judge import rules
from dianoia.judge.rubric import Rubric
from dianoia.judge.rules import Rule
from dianoia.judge.shaping import tags_to_write
from dianoia.judge.verdict_counts import count
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.verifier import Grade, RunsIn
from dianoia.text.template import Template

_Grade = TypeVar("_Grade")


def verify(problem: Problem, answer: str) -> float | None:
    """The problem's own verifier on an answer."""
    (grade,) = VERIFIERS[problem.verifier].grade([(problem, answer)])
    count(problem, grade)
    return grade.score


def training_rubric(
    rewards: RewardSettings,
    max_tokens: int,
    seed: int,
    template: Template | None = None,
    verdict: Rule | None = None,
    further: Sequence[Rule] = (),
) -> Rubric:
    """Reward_rule + Reward_language (eq. 4, 7); a rule of weight 0 still is measured where it costs nothing.

    `template` as `general_rules`. `verdict` stands in for the verifier where a judge has graded the group;
    `further` are parts that were measured for many rollouts at once.
    """
    accuracy = verdict or rules.accuracy(verify, rewards.accuracy)
    if rewards.cosine is not None:
        accuracy = replace(accuracy, measure=rules.once(accuracy.measure))
    chosen = [accuracy, *general_rules(rewards, max_tokens, seed, template)]
    if rewards.cosine is not None:
        values = _cosine(rewards.cosine, max_tokens)
        chosen.append(rules.cosine(values, accuracy.measure, rewards.cosine.weight))
    return Rubric((*chosen, *further))


def _cosine(chosen: CosineSettings, max_tokens: int) -> rules.Cosine:
    right = (chosen.right_short, chosen.right_long)
    wrong = (chosen.wrong_short, chosen.wrong_long)
    return rules.Cosine(chosen.length or max_tokens, right, wrong, chosen.truncated)


def general_rules(
    rewards: RewardSettings, max_tokens: int, seed: int, template: Template | None = None
) -> tuple[Rule, ...]:
    """What holds for every rollout, one of a general prompt too, whose verifier is not asked (eq. 8 to 10).

    `template` says which tags count; without one there is no rule for tags.
    """
    chosen = [rules.format_rule(rewards.format)]
    if rewards.language:
        chosen.append(rules.language(weight=rewards.language))
    if rewards.random:
        chosen.append(rules.random_reward(seed, rewards.random))
    if rewards.overlong_cache:
        cache = rewards.overlong_cache
        chosen.append(rules.overlong(lambda n: soft_overlong(n, max_tokens, cache)))
    if rewards.repetition is not None:
        chosen.append(rules.repetition(rewards.repetition.ngram, rewards.repetition.weight))
    if rewards.tags is not None and template is not None:
        chosen.append(rules.tags(tags_to_write(template), rewards.tags.weight))
    return tuple(chosen)


def evaluation_rubric(verdict: Rule | None = None) -> Rubric:
    """Accuracy and format, the same rules as in training; `verdict` as there."""
    return Rubric((verdict or rules.accuracy(verify), rules.format_rule()))


def judge(
    rubric: Rubric | Sequence[Rubric], rollouts_PG: Sequence[Sequence[Rollout]]
) -> list[Group]:
    """Score every rollout by one rubric, or those of each group by its own."""
    rubrics = [rubric] * len(rollouts_PG) if isinstance(rubric, Rubric) else rubric
    its = {id(r): one for one, some in zip(rubrics, rollouts_PG, strict=True) for r in some}
    every = [rollout for rollouts_G in rollouts_PG for rollout in rollouts_G]
    scores = iter(each(lambda rollout: its[id(rollout)].score(rollout), every))
    return [
        Group(
            rollouts_G[0].problem,
            tuple(rollouts_G),
            tuple(one.settled(list(islice(scores, len(rollouts_G))))),
        )
        for one, rollouts_G in zip(rubrics, rollouts_PG, strict=True)
    ]


def each(grade: Callable[[Rollout], _Grade], rollouts: Sequence[Rollout]) -> list[_Grade]:
    """Grades in order. What can be graded ahead is; threads wait for verifiers that wait for other processes."""
    grade_ahead(rollouts)
    verifiers = [VERIFIERS.get(rollout.problem.verifier) for rollout in rollouts]
    if not any(v is not None and v.runs_in is RunsIn.SANDBOX for v in verifiers):
        return [grade(rollout) for rollout in rollouts]
    with ThreadPoolExecutor() as threads:
        return list(threads.map(grade, rollouts))


def grade_ahead(rollouts: Sequence[Rollout]) -> None:
    """Hand answers to the verifiers that grade many at once; may be called from any thread, at any time."""
    verify_ahead([(r.problem, r.answer) for r in rollouts if r.answer is not None])


def verify_ahead(pairs: Sequence[tuple[Problem, str]]) -> None:
    """As `grade_ahead`, for answers that belong to no rollout."""
    batches: dict[
        Callable[[Sequence[tuple[Problem, str]]], list[Grade]], list[tuple[Problem, str]]
    ] = {}
    for problem, answer in pairs:
        verifier = VERIFIERS.get(problem.verifier)
        if verifier is not None and verifier.runs_in is RunsIn.WORKERS:
            batches.setdefault(verifier.grade, []).append((problem, answer))
    for grade_many, batch in batches.items():
        grade_many(batch)
