"""Why the reward is flat, told while the run goes.

In: the summaries of the rollout batches so far, the oldest first. Out: the diagnoses that begin
with the last of them, each with advice in the names of the options. Left out: printing them, and
stopping.

A condition counts when it has held for PATIENCE batches in a row, since one small batch can look
like anything; only an unreadable gold answer is told at once. It is told when it begins and again
only after it has been away. Consequences are not told beside their cause: truncated rollouts cannot
keep the format, and without the format nothing can be right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dianoia.rewards.summary import BatchSummary

PATIENCE = 3
"""Batches in a row."""
LOOK_BACK = 50
"""Batches in which thoughts may have been longer."""
_MOST = 0.9
_NEARLY_ALL = 0.95
_NEARLY_NONE = 0.05
_LOW_ACCURACY = 0.2


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Something that keeps the run from learning."""

    code: str
    """Stable name, for metrics and tests."""
    message: str
    """What happens, with its numbers."""
    advice: str
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class _Condition:
    code: str
    holds: Callable[[BatchSummary], bool]
    message: Callable[[BatchSummary], str]
    advice: str
    patience: int = PATIENCE


def diagnose(history: Sequence[BatchSummary]) -> list[Diagnosis]:
    """The diagnoses that begin with the last summary; the last LOOK_BACK + 1 are enough."""
    found = [
        Diagnosis(condition.code, condition.message(history[-1]), condition.advice)
        for condition in _CONDITIONS
        if _streak(history, condition.holds) == condition.patience
    ]
    if _collapsed(history) and not _collapsed(history[:-1]):
        found.append(_collapse(history))
    return found


def _streak(history: Sequence[BatchSummary], holds: Callable[[BatchSummary], bool]) -> int:
    """For how many of the last summaries the condition has held without a break."""
    streak = 0
    for summary in reversed(history):
        if not holds(summary):
            break
        streak += 1
    return streak


def _truncated(summary: BatchSummary) -> bool:
    return summary.share_truncated >= _MOST


def _format_never(summary: BatchSummary) -> bool:
    # With nearly all of them cut, the few malformed ones say nothing about the template.
    return (
        not _truncated(summary)
        and summary.mean_format <= _NEARLY_NONE
        and summary.common_fault is not None
    )


def _uniform(summary: BatchSummary) -> bool:
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
        "format_never_met",
        _format_never,
        lambda batch: (
            f"{batch.share_malformed:.0%} of the responses break the template and "
            f"{batch.share_truncated:.0%} are cut, so hardly any earns the format reward; the "
            f"commonest fault is {batch.common_fault}, as in {batch.fault_example!r}"
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
        "lower the difficulty of the problems, draw more samples a problem, or check the problem's "
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
        "raise sampling.temperature so that the samples of a problem differ, draw more samples a "
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


def _collapsed(history: Sequence[BatchSummary]) -> bool:
    """Well-formed, hardly ever right, and thoughts blank or at most half of what they were."""
    last = history[-PATIENCE:]
    before = [batch.mean_thought_tokens for batch in history[-LOOK_BACK:-PATIENCE]]
    longest = max((tokens for tokens in before if tokens is not None), default=0.0)
    return len(last) == PATIENCE and all(
        batch.mean_format >= _MOST
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
