"""The judge: it scores groups of rollouts by the parts of a reward.

In: groups of rollouts with their purposes. Out: the same groups with a `Score` per rollout: the weighted sum of the parts and
its breakdown. By default every weight is 1: `R = R_accuracy + R_format` (DeepSeek-R1, arXiv 2501.12948v2, eq. 4). Not here:
the parts (`judge.rules`, `judge.functions`, `judge.reward_model_part`, `judge.llm_grader`), and advantages.
"""

import asyncio
import math
from collections.abc import Awaitable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from statistics import fmean
from typing import Any, NamedTuple

from dianoia.base.errors import ConfigError, ProblemFileError, UserError
from dianoia.base.records import Group, Problem, Purpose, Rollout, RolloutGroup, Score
from dianoia.config import PreferenceSettings, RewardSettings, RLStage
from dianoia.distributed.group import ranks
from dianoia.distributed.shares import shares_by_cost
from dianoia.judge import rules
from dianoia.judge.completion_text import CompletionText
from dianoia.judge.functions import FunctionPart, load_function
from dianoia.judge.llm_grader import REFERENCE, GraderPart, LLMGrader
from dianoia.judge.reward_model_part import RewardModelPart
from dianoia.judge.reward_model_scores import RewardModel
from dianoia.judge.reward_part import ACCURACY, RewardPart, ScoredBy, ScoringState, Values
from dianoia.models.endpoint import Endpoint
from dianoia.models.loading import load_tokenizer
from dianoia.storage.stage_inputs import Context
from dianoia.text.template import Template

MAX_REWARD = 1e12
"""Largest size of a value or a reward; its square is far within float32's range."""


class Judge:
    """The judge of one stage."""

    def __init__(self, parts: Sequence[RewardPart]) -> None:
        """`parts` is in the order of the breakdown. Two parts may share a name if no group is covered by both."""
        self.parts = tuple(parts)
        self._logged: dict[str, list[float]] = {}

    def score(self, groups: Sequence[RolloutGroup], state: ScoringState) -> list[Group]:
        """Score every rollout, in order.

        Raises:
            ConfigError: no part covers a group, or two parts of one name do.
            ProblemFileError: no part applies to a rollout, so that its total would be a 0 that nothing gave.
            UserError: a value or a total is not a finite number, or beyond `MAX_REWARD`; or a part's own error.
        """
        mine = _share(groups)
        # One batch per part: the rollouts of all groups that it covers.
        batches = [_Batch.of(part, groups, mine, state) for part in self.parts]
        _run([batch for batch in batches if not batch.part.reads_accuracy])
        # Cosine and its like come second: they read what the parts named `accuracy` gave.
        accuracy = {
            index: columns.values
            for batch in batches
            if batch.part.name == ACCURACY
            for index, columns in batch.columns.items()
        }
        # Two parts may be named `accuracy`, but no group is covered by both.
        second = [batch for batch in batches if batch.part.reads_accuracy]
        for batch in second:
            batch.state.accuracy = [value for index in batch.groups for value in accuracy[index]]
        _run(second)
        self._log_metrics(batches)
        # From one table of columns per part to one list of columns per group.
        return [
            _score_group(group, [(b.part, b.columns[index]) for b in batches if index in b.columns])
            for index, group in enumerate(groups)
        ]

    def score_rollouts(
        self, rollouts_PG: Sequence[Sequence[Rollout]], state: ScoringState | None = None
    ) -> list[Group]:
        """Score rollouts of reasoning problems, one list per problem."""
        groups = [
            RolloutGroup(rollouts_G[0].problem, tuple(rollouts_G)) for rollouts_G in rollouts_PG
        ]
        return self.score(groups, state or ScoringState())

    def mean_scores(
        self, purpose: Purpose, rollouts_PG: Sequence[Sequence[Rollout]]
    ) -> list[float] | None:
        """Return the mean score of each held-out general prompt by the reward model of its purpose.

        None if no sample of any prompt has finished.
        """
        # Exactly one model per purpose of general prompts: settings of preferences name one each.
        (part,) = (part for part in self._reward_models if part.purpose is purpose)
        return part.mean_scores(rollouts_PG)

    def figures(self) -> dict[str, float]:
        """Return what the parts logged since the last call: the mean over calls of each call's mean."""
        figures = {name: fmean(values) for name, values in self._logged.items()}
        self._logged = {}
        for part in self.parts:
            figures |= part.figures()
        return figures

    def state(self) -> dict[str, Any]:
        """Return the state that `load_state` resumes from."""
        return {"lowest": {part.name: part.lowest for part in self._reward_models}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from `state()`. States of version 0.1.0 hold the models of `rewards.models` under `parts`."""
        lowest = {**state["lowest"], **state.get("parts", {})}
        for part in self._reward_models:
            part.lowest = lowest[part.name]

    @property
    def functions(self) -> list[FunctionPart]:
        """The reward functions of users among the parts."""
        return [part for part in self.parts if isinstance(part, FunctionPart)]

    @property
    def _reward_models(self) -> list[RewardModelPart]:
        return [part for part in self.parts if isinstance(part, RewardModelPart)]

    def _log_metrics(self, batches: Sequence["_Batch"]) -> None:
        """Average what all parts of one call logged under one name."""
        metrics: dict[str, list[float]] = {}
        for batch in batches:
            for name, values in batch.state.metrics.items():
                metrics.setdefault(name, []).extend(values)
        # Two levels of means: within a call over its values, in `figures` over the calls of a rollout.
        for name, values in metrics.items():
            self._logged.setdefault(f"logged/{name}", []).append(fmean(values))


# Running the parts -------------------------------------------------------------------------------


class _Columns(NamedTuple):
    """What a part gave the rollouts of one group."""

    values: Values
    verdicts: Sequence[str | None]
    """Empty for a part without verdicts."""
    notes: Mapping[str, Sequence[Any]]


@dataclass(slots=True)
class _Batch:
    """The rollouts of the groups that one part scores in this process, its state, and what it gave."""

    part: RewardPart
    groups: Mapping[int, RolloutGroup]
    """Groups to score by index among all groups."""
    state: ScoringState
    values: Values = field(default_factory=list)
    """One per rollout of `groups`, in order."""
    columns: dict[int, _Columns] = field(default_factory=dict)
    """By index among all groups, for every group that the part covers, whichever rank scored it."""

    @classmethod
    def of(
        cls,
        part: RewardPart,
        groups: Sequence[RolloutGroup],
        mine: Collection[int],
        state: ScoringState,
    ) -> "_Batch":
        """`mine`: indices of the groups that this rank scores, where the ranks share them out."""
        if part.scored_by is ScoredBy.ALL:
            mine = range(len(groups))
        elif part.scored_by is ScoredBy.FIRST:
            mine = range(len(groups)) if ranks().rank == 0 else ()
        covered = {index: groups[index] for index in mine if part.covers(groups[index])}
        sizes = [len(group.rollouts) for group in covered.values()]
        # A fresh state: parts run at the same time, and each logs into its own.
        return cls(part, covered, ScoringState(state.step, state.steps, state.max_tokens, sizes))

    def score(self) -> Values | Awaitable[Values]:
        rollouts = [rollout for group in self.groups.values() for rollout in group.rollouts]
        # A part is not called without rollouts, so that a reward model or an endpoint does not run for nothing.
        return self.part.score(rollouts, self.state) if rollouts else []

    def own_columns(self) -> dict[int, _Columns]:
        """Cut what the part gave in this process into groups."""
        columns, start = {}, 0
        for index, group in self.groups.items():
            rows = slice(start, start + len(group.rollouts))
            start += len(group.rollouts)
            notes = {name: values[rows] for name, values in self.state.notes.items()}
            columns[index] = _Columns(self.values[rows], self.state.verdicts[rows], notes)
        return columns


def _share(groups: Sequence[RolloutGroup]) -> Collection[int]:
    """Return the indices of the groups that this rank scores: all of them in a process by itself."""
    tokens = [sum(len(r.completion.ids) for r in group.rollouts) for group in groups]
    group = ranks()
    return shares_by_cost(tokens, group.size)[group.rank]


def _run(batches: Sequence[_Batch]) -> None:
    """Score each batch by its part: waiting parts in threads, the others meanwhile in this one, awaitables together last."""
    waiting = [batch for batch in batches if batch.part.waits]
    with ThreadPoolExecutor(max(1, len(waiting)), "judge") as threads:
        # Verifiers and LLM graders wait for other processes and machines.
        futures = [threads.submit(batch.score) for batch in waiting]
        # Functions of users and reward models stay in this thread, as in TRL: user code need not be thread-safe.
        inline = [batch for batch in batches if not batch.part.waits]
        results: list[Values | Awaitable[Values]] = [batch.score() for batch in inline]
    results += [future.result() for future in futures]
    # One event loop for all `async` functions, so that they wait for their servers at the same time.
    awaitables = [result for result in results if isawaitable(result)]
    awaited = iter(asyncio.run(_gather(awaitables)) if awaitables else [])
    # `results` has the order of `inline`, then `waiting`; `awaited` the order of the awaitables among them.
    for batch, result in zip([*inline, *waiting], results, strict=True):
        batch.values = next(awaited) if isawaitable(result) else result
    _bring_together(batches)


def _bring_together(batches: Sequence[_Batch]) -> None:
    """Give every batch the columns of all groups, those that other ranks have scored included."""
    for batch in batches:
        batch.columns = batch.own_columns()
    group = ranks()
    shared = [batch for batch in batches if batch.part.scored_by is not ScoredBy.ALL]
    if group.size == 1 or not shared:
        return
    parts = group.gather([_sent(batch) for batch in shared], "gather scores")
    for rank, part in enumerate(parts):
        if rank == group.rank:
            continue
        for batch, (columns, metrics) in zip(shared, part, strict=True):
            batch.columns |= columns
            for name, values in metrics.items():
                batch.state.metrics.setdefault(name, []).extend(values)


def _sent(batch: _Batch) -> tuple[dict[int, _Columns], dict[str, list[float]]]:
    """Return what other ranks get of a batch."""
    # Notes go into files, which rank 0 writes, and those of a user's function may be any object.
    if ranks().writes:
        return {i: c._replace(notes={}) for i, c in batch.columns.items()}, batch.state.metrics
    return batch.columns, batch.state.metrics


async def _gather(awaitables: Sequence[Awaitable[Values]]) -> list[Values]:
    return list(await asyncio.gather(*awaitables))


# Adding the parts up -----------------------------------------------------------------------------


def _score_group(group: RolloutGroup, columns: Sequence[tuple[RewardPart, _Columns]]) -> Group:
    """Add up the parts that cover a group."""
    parts = [part for part, _ in columns]
    _check_names(parts)
    # Columns that functions logged.
    notes = {name: values for _, given in columns for name, values in given.notes.items()}
    # At most one part that covers a group logs verdicts: the verifiers' accuracy.
    verdicts = next(
        (given.verdicts for _, given in columns if given.verdicts), [None] * len(group.rollouts)
    )
    scores_G = []
    for sample, rollout in enumerate(group.rollouts):
        logged = {name: values_G[sample] for name, values_G in notes.items()}
        values = [given.values[sample] for _, given in columns]
        scores_G.append(_add_up(parts, values, rollout, logged, verdicts[sample]))
    scores = tuple(_fill_with_mean(parts, scores_G))
    return Group(group.problem, group.rollouts, scores, purpose=group.purpose)


def _check_names(parts: Sequence[RewardPart]) -> None:
    names = [part.name for part in parts]
    if not names:
        raise ConfigError("the reward has no part, so every reward would be 0; add one")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two parts of the reward are named {name!r}, so the breakdown would keep one "
                "of them; rename or remove one"
            )


def _add_up(
    parts: Sequence[RewardPart],
    values: Values,
    rollout: Rollout,
    notes: Mapping[str, Any],
    verdict: str | None,
) -> Score:
    """Return the weighted sum of the values, with the breakdown, and with notes and verdict as they are."""
    breakdown = {
        part.name: _checked(part, value, rollout) for part, value in zip(parts, values, strict=True)
    }
    # Without this a problem that nothing can grade would have reward 0, as if it were wrong.
    if all(value is None for value in values):
        raise ProblemFileError(_nothing_applies(rollout.problem, list(breakdown)))
    # fsum is exact, so that the order of the parts does not change the reward.
    total = math.fsum(part.weight * (breakdown[part.name] or 0.0) for part in parts)
    # Written with `not`, so that NaN and infinity are refused too.
    if not abs(total) <= MAX_REWARD:
        raise UserError(_too_large(f"the reward {total:g}, added up by the weights,", rollout))
    return Score(total, breakdown, notes, verdict)


def _fill_with_mean(parts: Sequence[RewardPart], scores_G: Sequence[Score]) -> list[Score]:
    """Give a rollout to which no part with a weight applies the mean total of the others of its group.

    Its advantage is then 0 and it moves no other's baseline: it teaches nothing, as None means. TRL leaves such a
    sample out of its group's mean and deviation; here it stays in the deviation, which is that much smaller.
    """
    # A part of weight 0 is measured and pays nothing, so it does not make a rollout scored.
    paying = [part.name for part in parts if part.weight]
    is_scored = [any(score.parts[name] is not None for name in paying) for score in scores_G]
    totals = [s.total for s, scored in zip(scores_G, is_scored, strict=True) if scored]
    mean = fmean(totals) if totals else 0.0
    return [
        score if scored else replace(score, total=mean)
        for score, scored in zip(scores_G, is_scored, strict=True)
    ]


def _checked(part: RewardPart, value: float | None, rollout: Rollout) -> float | None:
    if value is not None and not math.isfinite(value):
        raise UserError(
            f"the part {part.name!r} of the reward gave {value!r} to sample {rollout.sample} of problem "
            f"{rollout.problem.id!r}; one such reward spoils its whole group. "
            "Return a finite number, or None where the part does not apply"
        )
    if value is not None and abs(value) > MAX_REWARD:
        raise UserError(
            _too_large(f"the part {part.name!r} of the reward gave {value:g}, which", rollout)
        )
    return value


def _too_large(subject: str, rollout: Rollout) -> str:
    return (
        f"{subject} for sample {rollout.sample} of problem {rollout.problem.id!r} is beyond {MAX_REWARD:g}; rewards are squared "
        "in float32, where such a number is lost or infinite. Scale it down: within a group only differences count"
    )


def _nothing_applies(problem: Problem, names: list[str]) -> str:
    return (
        f"no part of the reward applies to problem {problem.id!r} ({', '.join(names)}), so it has no reward: "
        f"verifier {problem.verifier!r} probably cannot read its gold answer "
        f"{problem.answer[:80]!r}. Check the problem's answer column, name another "
        "verifier, or add the format rule"
    )


# The judges of stages ----------------------------------------------------------------------------


def training_judge(
    config: RLStage, context: Context, template: Template, grader: LLMGrader | None
) -> Judge:
    """Make the judge of an RL stage, with its functions and reward models loaded; `grader` as `grader_of` gives it.

    Raises ConfigError and ModelError for what cannot be used.
    """
    rewards = config.rewards
    models = [] if config.preferences is None else _general_models(config.preferences, context)
    # Models of `rewards.models` score problems with a verifier.
    models += [
        RewardModelPart(settings.name, _load(settings.model, context), settings.weight)
        for settings in rewards.models
    ]
    functions = []
    if rewards.functions:
        # They get responses as TRL decodes them, for which the tokenizer is needed.
        text = CompletionText(template, load_tokenizer(context.resolve(config.start)))
        functions = [
            FunctionPart(load_function(settings), settings.weight, text)
            for settings in rewards.functions
        ]
    return Judge(reward_parts(rewards, context.seed, template, models, functions, grader))


def reward_parts(
    rewards: RewardSettings,
    seed: int,
    template: Template | None = None,
    models: Sequence[RewardModelPart] = (),
    functions: Sequence[FunctionPart] = (),
    grader: LLMGrader | None = None,
) -> list[RewardPart]:
    """Make the parts that a recipe asks for, in the order of the breakdown.

    Reward_rule + Reward_language (eq. 4, 7) for problems with a verifier, whose verifier is not asked about general
    prompts (eq. 8 to 10). Accuracy and format of weight 0 are measured all the same. `template` decides which tags count;
    without one there is no part for tags. `models` of general prompts come before `functions`, others after them.
    """
    parts = [*_accuracy_parts(rewards, grader), rules.format_rule(rewards.format)]
    # Accuracy and format are always there; the parts from here on only if the recipe asks for them.
    if rewards.language:
        parts.append(rules.language(weight=rewards.language))
    if rewards.random:
        parts.append(rules.random_reward(seed, rewards.random))
    if rewards.overlong_cache:
        parts.append(rules.Overlong(rewards.overlong_cache))
    if rewards.repetition is not None:
        parts.append(rules.repetition(rewards.repetition.ngram, rewards.repetition.weight))
    if rewards.tags is not None and template is not None:
        parts.append(rules.tags(rules.tags_to_write(template), rewards.tags.weight))
    if rewards.cosine is not None:
        parts.append(rules.Cosine(rewards.cosine))
    parts += [model for model in models if model.purpose is not Purpose.REASONING]
    # The order of the breakdown is that of 0.1.0: models of general prompts, functions, models of problems.
    parts += functions
    parts += [model for model in models if model.purpose is Purpose.REASONING]
    if grader is not None and rewards.judge is not None and rewards.judge.grades == "all":
        parts.append(GraderPart(grader, rewards.judge.weight, references=False))
    return parts


def evaluation_judge(
    rewards: RewardSettings | None = None, grader: LLMGrader | None = None
) -> Judge:
    """Make the judge of evaluations and held-out curves: accuracy and format, the same parts as in training.

    `rewards` and `grader` are given where an LLM grades problems that no rule can grade.
    """
    settings = RewardSettings() if rewards is None else RewardSettings(judge=rewards.judge)
    return Judge([*_accuracy_parts(settings, grader), rules.format_rule()])


def grader_of(rewards: RewardSettings, context: Context) -> LLMGrader | None:
    """Return the LLM grader that a recipe names, behind its endpoint; None if it names none."""
    if rewards.judge is None:
        return None
    return LLMGrader(Endpoint(rewards.judge, context.directory.answers).ask)


def reward_weights(rewards: RewardSettings, preferences: PreferenceSettings) -> dict[str, float]:
    """Return the weight of each part of the reward by name."""
    return {
        **rewards.parts,
        Purpose.HELPFUL.value: preferences.helpful_weight,
        Purpose.SAFETY.value: preferences.safety_weight,
    }


def _accuracy_parts(rewards: RewardSettings, grader: LLMGrader | None) -> list[RewardPart]:
    """Make the part by verifiers, and where an LLM grades what no rule can, its part under the same name."""
    if grader is None or rewards.judge is None:
        return [rules.Accuracy(rewards.accuracy)]
    return [
        # The verifier `reference` accepts only its own gold text; an LLM grades these problems instead.
        rules.Accuracy(rewards.accuracy, without=frozenset({REFERENCE})),
        GraderPart(grader, rewards.judge.weight, references=True),
    ]


def _general_models(preferences: PreferenceSettings, context: Context) -> list[RewardModelPart]:
    """Load the reward models of general prompts."""
    models = (
        (Purpose.HELPFUL, preferences.helpful, preferences.helpful_weight),
        (Purpose.SAFETY, preferences.safety, preferences.safety_weight),
    )
    return [
        RewardModelPart(purpose.value, _load(source, context), weight, purpose, "preferences")
        for purpose, source, weight in models
        if source is not None
    ]


def _load(source: str, context: Context) -> RewardModel:
    return RewardModel.load(context.resolve(source), context.device)
