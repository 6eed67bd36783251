"""The rules that score a rollout, each a named function `(Rollout) -> float | None`.

In: a rollout. Out: the rule's value; None where it does not apply, which is not zero. Left out: how
the values are weighed (`dianoia.judge.rubric`), reward models, and the verifiers themselves,
which are handed in so that this room knows nothing of tasks.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2) is silent:
1. Accuracy and format are 1 or 0 (section 2.2 gives equal weights and no values).
2. Malformed and truncated rollouts get accuracy 0: an answer that cannot be found is not right. The
   format rule asks for the answer's tags too, not only for those of the thought.
3. Language consistency (eq. 7) targets the problem's language, which is that of its question unless the
   problem names another. A malformed or truncated rollout gets 0, so that breaking the format is no way
   around it; a thought without words gets None, which adds nothing to the reward.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dianoia.base.records import Problem, Rollout, RolloutStatus
from dianoia.judge.shaping import cosine_by_length, repetition_penalty, tag_count
from dianoia.text.language import language_share

ACCURACY = "accuracy"
FORMAT = "format"
LANGUAGE = "language"
JUDGE = "judge"
SIMPLE = (ACCURACY, FORMAT, LANGUAGE, "random", "overlong")
"""Rules whose mean says all: shares, and a penalty that hardly any sample meets."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One part of a reward."""

    name: str
    """Key in `Score.parts`, in metrics and in reports."""
    measure: Callable[[Rollout], float | None]
    """None: the rule does not apply to this rollout."""
    weight: float = 1.0


def accuracy(verify: Callable[[Problem, str], float | None], weight: float = 1.0) -> Rule:
    """1 for a right answer and 0 for a wrong or missing one (section 2.2).

    `verify(problem, answer)` returns None when it cannot read the problem's own gold answer.
    """

    def measure(rollout: Rollout) -> float | None:
        if rollout.answer is None:
            return 0.0
        return verify(rollout.problem, rollout.answer)

    return Rule(ACCURACY, measure, weight)


def format_rule(weight: float = 1.0) -> Rule:
    """1 when the rollout ended by itself and keeps every rule of its template, else 0."""
    return Rule(FORMAT, lambda rollout: float(rollout.status is RolloutStatus.FINISHED), weight)


def language(
    share: Callable[[str, str], float | None] = language_share, weight: float = 1.0
) -> Rule:
    """Share of the thought's words that are in the problem's language, 0 to 1 (section 3, eq. 7).

    `share(text, language)` returns None for a text without words.
    """

    def measure(rollout: Rollout) -> float | None:
        if rollout.thought is None:
            return 0.0
        return share(rollout.thought, rollout.problem.language)

    return Rule(LANGUAGE, measure, weight)


def overlong(penalty: Callable[[int], float], weight: float = 1.0) -> Rule:
    """A penalty on the number of response tokens, such as DAPO's (arXiv 2503.14476, eq. 13).

    Not part of DeepSeek-R1. The end-of-sequence token counts.
    """
    return Rule("overlong", lambda rollout: penalty(len(rollout.completion.ids)), weight)


def repetition(ngram: int, weight: float = 1.0) -> Rule:
    """The penalty on repeated n-grams of response tokens; any rollout has one."""
    return Rule("repetition", lambda r: repetition_penalty(r.completion.ids, ngram), weight)


@dataclass(frozen=True, slots=True)
class Cosine:
    """The values of a cosine by length; lengths are response tokens, the end token included."""

    full: int
    right: tuple[float, float]
    """Of a right answer: without any token, and at full length."""
    wrong: tuple[float, float]
    truncated: float | None
    """None: as a wrong answer of that length."""

    def __call__(self, rollout: Rollout, grade: float | None) -> float | None:
        """None where the answer has no grade; malformed is wrong, and so is truncated unless it has its own value."""
        if rollout.status is RolloutStatus.TRUNCATED and self.truncated is not None:
            return self.truncated
        if grade is None:
            return None
        short, long = self.right if grade >= 1.0 else self.wrong
        return cosine_by_length(len(rollout.completion.ids), self.full, short, long)


def cosine(values: Cosine, grade: Callable[[Rollout], float | None], weight: float = 1.0) -> Rule:
    """Right and wrong, scaled by length; `grade` is the accuracy of a rollout."""
    return Rule("cosine", lambda rollout: values(rollout, grade(rollout)), weight)


def tags(names: Sequence[str], weight: float = 1.0) -> Rule:
    """The share of the tags `names` that stand exactly once in the response."""
    return Rule("tags", lambda rollout: tag_count(rollout.text, names), weight)


def once(grade: Callable[[Rollout], float | None]) -> Callable[[Rollout], float | None]:
    """The same, asked once a rollout: a verifier may run a program."""
    known: dict[
        int, tuple[Rollout, float | None]
    ] = {}  # a rollout that is kept keeps its id to itself

    def remembered(rollout: Rollout) -> float | None:
        if id(rollout) not in known:
            known[id(rollout)] = (rollout, grade(rollout))
        return known[id(rollout)][1]

    return remembered


def random_reward(seed: int, weight: float = 1.0) -> Rule:
    """The control: 1 or 0 by a fair coin, whatever the rollout says.

    What a model gains under it is not learned from the reward. The coin is seeded by who the
    rollout is (problem, sample, response tokens), so it does not depend on the order of scoring.
    """

    def measure(rollout: Rollout) -> float:
        who = repr((seed, rollout.problem.id, rollout.sample, rollout.completion.ids))
        return float(hashlib.sha256(who.encode()).digest()[0] & 1)

    return Rule("random", measure, weight)
