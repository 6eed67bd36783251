"""Diagnosis of flat rewards, during the run.

In: the summaries of the rollout batches so far, the oldest first. Out: the diagnoses that begin
with the last of them, each with advice in the names of the options. Not here: printing them, and
stopping.

A condition is reported when it has held for PATIENCE batches in a row, since one small batch proves
nothing. Exceptions: an unreadable gold answer, a reward function that pays nothing for a large
batch, and evaluations, which have one batch. A condition is
reported again only after it has not held for a batch. Its consequences are not reported:
truncated rollouts cannot keep the format, and without the format nothing can be right.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dianoia.judge.group_summary import BatchSummary, OneAnswer
from dianoia.judge.unpaid import Unpaid
from dianoia.text.template_fit import CODE as MISFIT
from dianoia.text.template_fit import BetterTemplate

PATIENCE = 3
"""Batches in a row for which a condition has to hold."""
LOOK_BACK = 50
"""Earlier batches with which the length of thoughts is compared."""
_MOSTLY = 0.9
_NEARLY_ALL = 0.95
_NEARLY_NONE = 0.05
_LOW_ACCURACY = 0.2
_ONE_ANSWER = 0.9
"""Share of a model's answers that are equal, from which it is diagnosed."""
_NOT_THE_GOLDS = 0.1
"""Least difference to the share of the most common gold answer; below it the problems explain the answers."""
_FEWEST_PROBLEMS = 4
_HALF = 0.5
_FEWEST_ROLLOUTS = 32
"""Least rollouts over a streak for a part of the reward to count as constant: a few samples may be equal by chance."""
_FOR_ONE_BATCH = 256
"""Well-formed responses from which a reward function that pays them nothing is reported without PATIENCE."""
_FOR_LEVEL = 128
"""The same for a part that is constant within every group: samples of a problem are equal more often."""
_FORMAT_NEVER_MET = "format_never_met"
_OF_RULES = frozenset({"accuracy", "format", "language", "random", "overlong"})
"""Parts that are constant within a group once a problem is solved, or out of reach."""
_BEST = {
    "format": 1.0,
    "accuracy": 1.0,
    "language": 1.0,
    "tags": 1.0,
    "overlong": 0.0,
    "repetition": 0.0,
}
"""Best values of parts: every rollout may have them because nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A condition that keeps the run from learning."""

    code: str
    """Stable name, for metrics and tests."""
    message: str
    """The condition, with its numbers."""
    advice: str
    """The options to change."""


@dataclass(frozen=True, slots=True)
class _Condition:
    code: str
    holds: Callable[[BatchSummary], bool]
    message: Callable[[BatchSummary], str]
    advice: str
    patience: int = PATIENCE


def diagnose(history: Sequence[BatchSummary], trained_under: str | None = None) -> list[Diagnosis]:
    """Return the diagnoses that begin with the last summary; the last LOOK_BACK + 1 summaries are enough.

    `trained_under` is the template that the start was trained under, by its own record, where it is asked under another.
    """
    diagnoses = [
        Diagnosis(condition.code, condition.message(history[-1]), condition.advice)
        for condition in _CONDITIONS
        # Equal and not at least: a condition is told when it has lasted long enough, and not again in every later batch.
        if _streak(history, condition.holds) == condition.patience
    ]
    if trained_under is not None:
        diagnoses = [
            replace(diagnosis, advice=_trained_advice(trained_under))
            if diagnosis.code == _FORMAT_NEVER_MET
            else diagnosis
            for diagnosis in diagnoses
        ]
    diagnoses += _misreading(history)
    diagnoses += _constant(history)
    if _streak(history, lambda batch: _is_one_answer(batch.one_answer)) == PATIENCE:
        assert history[-1].one_answer is not None, "the condition holds"
        diagnoses.append(_one_answer_diagnosis(history[-1].one_answer))
    # Reported once, when it begins.
    if _collapsed(history) and not _collapsed(history[:-1]):
        diagnoses.append(_collapse(history))
    return diagnoses


def _trained_advice(template: str) -> str:
    return f"the checkpoint was trained under the template {template!r}: leave template out, or set it to {template!r}"


def _streak(history: Sequence[BatchSummary], holds: Callable[[BatchSummary], bool]) -> int:
    """Return the number of last summaries for which the condition has held without a break."""
    streak = 0
    for summary in reversed(history):
        if not holds(summary):
            break
        streak += 1
    return streak


def _truncated(summary: BatchSummary) -> bool:
    return summary.share_truncated >= _MOSTLY


def _format_never(summary: BatchSummary) -> bool:
    # With nearly all of them cut, the few malformed ones say nothing about the template.
    return (
        not _truncated(summary)
        and summary.mean_format <= _NEARLY_NONE
        and summary.common_fault is not None
    )


def _uniform(summary: BatchSummary) -> bool:
    # Uniform groups follow from these; only the cause is reported.
    caused = _truncated(summary) or _format_never(summary) or summary.mean_accuracy is None
    return summary.share_uniform_groups >= _NEARLY_ALL and not caused


def _all_right(summary: BatchSummary) -> bool:
    return _uniform(summary) and (summary.mean_accuracy or 0.0) >= _NEARLY_ALL


def _all_wrong(summary: BatchSummary) -> bool:
    return _uniform(summary) and (summary.mean_accuracy or 0.0) <= _NEARLY_NONE


def _split(summary: BatchSummary) -> bool:
    return _uniform(summary) and not (_all_right(summary) or _all_wrong(summary))


_CONDITIONS = (
    _Condition(
        "all_truncated",
        _truncated,
        lambda batch: (
            f"{batch.share_truncated:.0%} of the responses are cut at the length limit, so they "
            "cannot be right and the reward cannot rise"
        ),
        "raise sampling.max_tokens, or check that eos_token_id in the model's generation_config.json holds every end-of-sequence id "
        "of the model",
    ),
    _Condition(
        _FORMAT_NEVER_MET,
        _format_never,
        lambda batch: (
            f"{batch.share_malformed:.0%} of the responses break the template and "
            f"{batch.share_truncated:.0%} are cut, so hardly any earns the format reward; the "
            f"most common fault is {batch.common_fault}, as in {batch.fault_example!r}"
        ),
        "check that the template fits the model (a prompt that opens the thought itself needs "
        "r1-zero-prefilled or r1-prefilled), or start from a model that was fine-tuned on the template",
    ),
    _Condition(
        "all_wrong",
        _all_wrong,
        lambda batch: (
            f"{batch.share_uniform_groups:.0%} of the groups are uniform and all wrong (accuracy "
            f"{batch.mean_accuracy:.1%}), so their advantages are 0"
        ),
        "lower the difficulty of the problems, draw more samples per problem, or check the problem's "
        "answer column against a response that looks right",
    ),
    _Condition(
        "all_right",
        _all_right,
        lambda batch: (
            f"{batch.share_uniform_groups:.0%} of the groups are uniform and all right (accuracy "
            f"{batch.mean_accuracy:.1%}), so their advantages are 0: there is nothing left to learn"
        ),
        "raise the difficulty of the problems, or end the stage here",
    ),
    _Condition(
        "groups_uniform",
        _split,
        lambda batch: (
            f"{batch.share_uniform_groups:.0%} of the groups have one and the same reward "
            f"throughout, some right and some wrong (accuracy {batch.mean_accuracy:.1%}), so "
            "nothing is learned"
        ),
        "raise sampling.temperature so that the samples of a problem differ, draw more samples per "
        "problem, or use problems of middle difficulty",
    ),
    _Condition(
        "gold_unparseable",
        lambda batch: batch.share_unparseable > 0,
        lambda batch: (
            f"the gold answer of {batch.share_unparseable:.1%} of the rollouts cannot be read by "
            f"its verifier, so they have no accuracy; problems {', '.join(batch.unparseable_ids)}"
        ),
        "check the problem's answer column, or name a verifier that reads such answers",
        patience=1,
    ),
)
_SHOWN_CHARS = 80


# Reward functions --------------------------------------------------------------------------------


def _misreading(history: Sequence[BatchSummary]) -> list[Diagnosis]:
    """Diagnose reward functions that have now paid 0 for nearly all well-formed responses for long enough."""
    return [
        _misreading_diagnosis(name, history[-1].unpaid[name])
        for name in history[-1].unpaid
        if _misreads(history, name) and not _misreads(history[:-1], name)
    ]


def _misreads(history: Sequence[BatchSummary], name: str) -> bool:
    streak = _streak(history, lambda batch: name in batch.unpaid and batch.unpaid[name].is_wrong)
    responses = sum(batch.unpaid[name].responses for batch in history[len(history) - streak :])
    # One large batch is proof enough: a run of a few steps would end without a word.
    return responses >= _FOR_ONE_BATCH or (streak >= PATIENCE and responses >= _FEWEST_ROLLOUTS)


def _misreading_diagnosis(name: str, unpaid: Unpaid) -> Diagnosis:
    right = f", {unpaid.right} of them right by the verifier" if unpaid.right else ""
    cause = unpaid.cause or "no cause is known"
    return Diagnosis(
        "function_pays_nothing",
        f"the reward function {name!r} pays 0 for {unpaid.share:.0%} of the well-formed responses ({unpaid.responses} in this "
        f"rollout{right}), so that it teaches nothing; the likely cause: {cause}. It was given completions such as "
        f"{unpaid.example}",
        unpaid.advice
        or f"compare what {name!r} expects with `text` and `parts` in the stage's rollouts: another form of completions "
        "(rewards.functions, form), other tags than the template's, or a column that is empty",
    )


# Constant parts ---------------------------------------------------------------------------------


def _constant(history: Sequence[BatchSummary]) -> list[Diagnosis]:
    """Diagnose parts of the reward that have now been constant over all rollouts, or within every group, for long enough."""
    return [
        _constant_diagnosis(name, history[-1].constant_parts[name])
        for name in history[-1].constant_parts
        if _lasts(history, name) and not _lasts(history[:-1], name)
    ] + [
        _level_diagnosis(name)
        for name in history[-1].level_parts
        if _lasts_level(history, name) and not _lasts_level(history[:-1], name)
    ]


def _lasts_level(history: Sequence[BatchSummary], name: str) -> bool:
    """Return True if a part has been constant within each group for too long to be chance."""
    if name in _OF_RULES:
        return False
    # Long enough by batches and by rollouts: small batches are constant by chance.
    streak = _streak(history, lambda batch: name in batch.level_parts)
    rollouts = sum(batch.rollouts for batch in history[len(history) - streak :])
    return streak >= PATIENCE and rollouts >= _FOR_LEVEL


def _level_diagnosis(name: str) -> Diagnosis:
    return Diagnosis(
        "part_constant",
        f"the part {name!r} of the reward has been the same for all samples of each problem in the last rollouts: it "
        "tells problems apart and not samples, so that it cancels out of every advantage and teaches nothing",
        f"let {name!r} depend on the completion (completions, completion_ids) and not on the problem's columns alone",
    )


def _lasts(history: Sequence[BatchSummary], name: str) -> bool:
    if not history or name not in history[-1].constant_parts:
        return False
    # The value of now: a part that was constant at another value before has changed in between.
    value = history[-1].constant_parts[name]
    streak = _streak(
        history,
        lambda batch: (
            # NaN for a batch in which the part was not constant: it equals nothing, also not a value of None.
            batch.constant_parts.get(name, math.nan) == value and not _explained(batch, name, value)
        ),
    )
    rollouts = sum(batch.rollouts for batch in history[len(history) - streak :])
    return streak >= PATIENCE and rollouts >= _FEWEST_ROLLOUTS


def _explained(batch: BatchSummary, name: str, value: float | None) -> bool:
    """Return True if a constant value is the best one, or another diagnosis explains it."""
    if value is not None and value == _BEST.get(name):
        return True
    if name in batch.unpaid and batch.unpaid[name].is_wrong:
        return True
    # Then nothing that depends on the format can be earned.
    if _truncated(batch) or _format_never(batch):
        return name in _FOLLOWS_FORMAT
    return name == "accuracy" and (
        _all_wrong(batch) or _all_right(batch) or batch.share_unparseable > 0
    )


_FOLLOWS_FORMAT = ("accuracy", "format", "language", "tags", "cosine", "judge")
"""Parts that a response that breaks the template cannot earn."""


def _constant_diagnosis(name: str, value: float | None) -> Diagnosis:
    description = (
        "has applied to no sample"
        if value is None
        else f"has been {value:g} for every sample, right or wrong,"
    )
    return Diagnosis(
        "part_constant",
        f"the part {name!r} of the reward {description} in the last rollouts, so that it tells no sample of a group from "
        "another and teaches nothing",
        f"read what {name!r} was given for a few samples (`parts` and `text` in the stage's rollouts): a function may expect "
        "another form of completions (rewards.functions, form), other tags than the template's, or a column that is empty; "
        "if every sample earns it by now, it can be left out",
    )


def diagnose_evaluation(
    batch: BatchSummary, other: BetterTemplate | None, trained: str | None = None
) -> list[Diagnosis]:
    """Diagnose an evaluation, all of whose answers are in one summary.

    `other` is the template that the responses fit better, where there is one; `trained` is the one that the checkpoint was
    trained under, by its own record, where it was asked under another.
    """
    diagnoses = [
        Diagnosis(
            condition.code,
            condition.message(batch),
            condition.advice.replace("sampling.max", "max"),
        )
        for condition in _CONDITIONS
        if condition.code in ("all_truncated", _FORMAT_NEVER_MET) and condition.holds(batch)
    ]
    if other is not None and not _truncated(batch):
        advice = f"set template = {other.name!r}, which {other.share:.0%} of the responses fit"
        if diagnoses:
            diagnoses = [replace(diagnoses[0], advice=advice)]
        # Nearly no response has tags of this template and most have those of the other.
        elif other.own_share <= _NEARLY_NONE and other.share >= _HALF:
            diagnoses = [_other_template(other, advice)]
    if trained is not None and diagnoses and not _truncated(batch):
        diagnoses = [replace(diagnoses[0], advice=_trained_advice(trained))]
    if batch.one_answer is not None and _is_one_answer(batch.one_answer):
        diagnoses.append(_one_answer_diagnosis(batch.one_answer))
    return diagnoses


def _other_template(other: BetterTemplate, advice: str) -> Diagnosis:
    return Diagnosis(
        MISFIT,
        f"{1 - other.own_share:.0%} of the responses have the form of another template: the parser of this one passes over "
        "its tags, and no verifier reads an answer in them",
        advice,
    )


def _is_one_answer(answers: OneAnswer | None) -> bool:
    return (
        answers is not None
        and answers.problems >= _FEWEST_PROBLEMS
        and answers.share >= _ONE_ANSWER
        and answers.gold_share <= answers.share - _NOT_THE_GOLDS
    )


def _one_answer_diagnosis(answers: OneAnswer) -> Diagnosis:
    return Diagnosis(
        "one_answer",
        f"{answers.share:.0%} of the answers are {answers.answer[:_SHOWN_CHARS]!r}, whatever the problem, and of the {answers.problems} "
        f"problems {answers.gold_share:.0%} have the most common gold answer: accuracy is what that answer happens to be worth, "
        "and nothing is solved",
        "compare pass@1 with `baseline`, the accuracy of always giving the most common gold answer; take problems whose gold answers "
        "differ more, or balance them; where this begins in training, lower the learning rate, raise sampling.temperature, or go "
        "back to a checkpoint from before it",
    )


def _collapsed(history: Sequence[BatchSummary]) -> bool:
    """Return True if responses are well-formed and hardly ever right, and thoughts blank or at most half as long as before."""
    last = history[-PATIENCE:]
    # Lengths before the last PATIENCE batches: thoughts have shrunk compared with these.
    earlier = [batch.mean_thought_tokens for batch in history[-LOOK_BACK:-PATIENCE]]
    longest = max((tokens for tokens in earlier if tokens is not None), default=0.0)
    return len(last) == PATIENCE and all(
        batch.mean_format >= _MOSTLY
        and batch.mean_accuracy is not None
        and batch.mean_accuracy <= _LOW_ACCURACY
        and batch.mean_thought_tokens is not None
        and (batch.share_empty_thoughts >= 0.5 or batch.mean_thought_tokens <= longest / 2)
        for batch in last
    )


def _collapse(history: Sequence[BatchSummary]) -> Diagnosis:
    last, first = history[-1], history[-LOOK_BACK:][0]
    return Diagnosis(
        "thoughts_collapsed",
        f"the responses are well-formed ({last.mean_format:.0%}) but hardly ever right (accuracy "
        f"{last.mean_accuracy:.1%}), and their thoughts shrink to nothing: "
        f"{last.mean_thought_tokens:.1f} tokens on average, {last.share_empty_thoughts:.0%} of "
        f"them blank (step {first.step}: {first.mean_thought_tokens or 0.0:.1f} tokens)",
        "the format reward is earned without reasoning. Lower the difficulty so that thinking "
        "pays, lower the weight of the format rule, or start from a base that is more often right "
        "with a derivation than without",
    )
