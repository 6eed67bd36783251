"""The parts of a reward that are rules: accuracy, format, language, and shaping rewards.

In: rollouts. Out: a value per rollout; None where a rule does not apply, which is not zero. Not here: reward functions,
reward models and LLM graders, and how the parts are added up (`judge.judge`).

Decisions where DeepSeek-R1 (arXiv 2501.12948v2) is silent:
1. Accuracy and format are 1 or 0 (section 2.2 gives equal weights and no values).
2. Malformed and truncated rollouts get accuracy 0: an answer that cannot be found is not right. The
   format rule asks for the answer's tags too, not only for those of the thought.
3. Language consistency (eq. 7) targets the problem's language, which is that of its question unless the
   problem names another. A malformed or truncated rollout gets 0, so that breaking the format is no way
   around it; a thought without words gets None, which adds nothing to the reward.

Shaping rewards (`Overlong`, `Cosine`, `repetition`, `tags`) are no part of DeepSeek-R1. Sources: DAPO (arXiv 2503.14476,
eq. 13) for `Overlong`; Yeo et al. 2025, "Demystifying Long Chain-of-Thought Reasoning in LLMs" (arXiv 2502.03373), appendix
C.1 for the cosine and C.2 for the penalty on repetition. Departures from the latter:
1. The penalty there falls on each repeated token. Here it is one number per response, the share of repeated n-grams,
   as in other implementations that give a response one reward.
2. Beyond the full length the cosine stays at its final value; continued, it would rise again.
3. The defaults of its five values are on the scale of an accuracy of 1 and 0, not the paper's.
"""

import hashlib
import math
from collections.abc import Callable, Sequence

from dianoia.algo.advantage import soft_overlong
from dianoia.base.records import Purpose, Rollout, RolloutGroup, RolloutStatus
from dianoia.config import CosineSettings
from dianoia.judge.reward_part import ACCURACY, FORMAT, LANGUAGE, RewardPart, ScoringState, Values
from dianoia.judge.verification import grade_rollouts
from dianoia.text.language import language_share
from dianoia.text.template import Template


class Rule(RewardPart):
    """A part that looks at one rollout at a time and covers every group."""

    def __init__(
        self, name: str, measure: Callable[[Rollout], float | None], weight: float = 1.0
    ) -> None:
        super().__init__(name, weight)
        self.measure = measure

    def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values:
        """Return the rule's value for each rollout."""
        return [self.measure(rollout) for rollout in rollouts]


class Accuracy(RewardPart):
    """1 for a right answer and 0 for a wrong or missing one, by the problem's own verifier (section 2.2).

    None when the verifier cannot read the problem's own gold answer.
    """

    waits = True

    def __init__(self, weight: float = 1.0, without: frozenset[str] = frozenset()) -> None:
        """`without` names verifiers whose problems get their accuracy from another part."""
        super().__init__(ACCURACY, weight, (Purpose.REASONING,))
        self.without = without

    def covers(self, group: RolloutGroup) -> bool:
        """Return True for problems with a verifier; a general prompt has no accuracy, not an accuracy of 0."""
        return super().covers(group) and group.problem.verifier not in self.without

    def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values:
        """Grade all answers at once, and log the verdicts."""
        # One call for all rollouts, so that worker processes and sandboxes run side by side.
        grades = grade_rollouts(rollouts)
        state.verdicts = [None if grade is None else grade.label for grade in grades]
        return [0.0 if grade is None else grade.score for grade in grades]


def format_rule(weight: float = 1.0) -> Rule:
    """Pay 1 if the rollout ended by itself and keeps every rule of its template, else 0."""
    return Rule(FORMAT, lambda rollout: float(rollout.status is RolloutStatus.FINISHED), weight)


def language(
    share: Callable[[str, str], float | None] = language_share, weight: float = 1.0
) -> Rule:
    """Pay the share of the thought's words that are in the problem's language, 0 to 1 (section 3, eq. 7).

    `share(text, language)` returns None for a text without words.
    """

    def measure(rollout: Rollout) -> float | None:
        # 0 and not None: otherwise breaking the format would avoid a low share.
        if rollout.thought is None:
            return 0.0
        return share(rollout.thought, rollout.problem.language)

    return Rule(LANGUAGE, measure, weight)


def random_reward(seed: int, weight: float = 1.0) -> Rule:
    """Pay 1 or 0 by a fair coin, whatever the rollout says: the control.

    What a model gains under it is not learned from the reward. The coin is seeded by the identity of the rollout
    (problem, sample, response tokens), so it does not depend on the order of scoring.
    """

    def measure(rollout: Rollout) -> float:
        # A hash instead of a generator: no state to resume, the same coin however rollouts are batched.
        identity = repr((seed, rollout.problem.id, rollout.sample, rollout.completion.ids))
        return float(hashlib.sha256(identity.encode()).digest()[0] & 1)

    return Rule("random", measure, weight)


# Shaping rewards ---------------------------------------------------------------------------------


class Overlong(RewardPart):
    """DAPO's soft penalty on long responses, from 0 down to -1; the end-of-sequence token counts."""

    def __init__(self, cache: int, weight: float = 1.0) -> None:
        """The penalty begins at `cache` tokens before the length limit that holds."""
        super().__init__("overlong", weight)
        self.cache = cache

    def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values:
        """Return the penalty on the length of each response."""
        lengths = (len(rollout.completion.ids) for rollout in rollouts)
        return [soft_overlong(length, state.max_tokens, self.cache) for length in lengths]


class Cosine(RewardPart):
    """Right and wrong, scaled by length in response tokens, the end token included.

    A malformed response is wrong, and so is a truncated one unless the settings give it a value of its own.
    """

    reads_accuracy = True

    def __init__(self, settings: CosineSettings) -> None:
        super().__init__("cosine", settings.weight, (Purpose.REASONING,))
        self.settings = settings

    def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values:
        """Return the value of each response by its accuracy and length; None for one without an accuracy."""
        pairs = zip(rollouts, state.accuracy, strict=True)
        return [self._value(rollout, accuracy, state.max_tokens) for rollout, accuracy in pairs]

    def _value(self, rollout: Rollout, accuracy: float | None, max_tokens: int) -> float | None:
        values = self.settings
        # First, since a truncated response has accuracy 0 and would count as wrong.
        if rollout.status is RolloutStatus.TRUNCATED and values.truncated is not None:
            return values.truncated
        if accuracy is None:
            return None
        # A share of passed tests below 1 is not right.
        right = accuracy >= 1.0
        short = values.right_short if right else values.wrong_short
        long = values.right_long if right else values.wrong_long
        full = values.length or max_tokens
        return cosine_by_length(len(rollout.completion.ids), full, short, long)


def cosine_by_length(length: int, full: int, short: float, long: float) -> float:
    """Return `long` + (`short` - `long`) (1 + cos(pi length / full)) / 2.

    That is `short` at no token and `long` from `full` tokens on (`full` is at least 1). Yeo et al. 2025, appendix C.1: a
    right answer earns more the shorter it is, a wrong one loses less the longer it is, so that thinking pays where it is
    needed.
    """
    share = min(1.0, length / full)
    return long + 0.5 * (short - long) * (1.0 + math.cos(math.pi * share))


def repetition(ngram: int, weight: float = 1.0) -> Rule:
    """Pay the penalty on repeated n-grams of response tokens; it applies to every rollout."""
    return Rule("repetition", lambda r: repetition_penalty(r.completion.ids, ngram), weight)


def repetition_penalty(ids: Sequence[int], ngram: int) -> float:
    """Return -(1 - distinct n-grams / n-grams) of the tokens, from -1 to 0.

    0 for a response with fewer tokens than an n-gram has. Assumes that text worth having rarely says the same
    `ngram` tokens twice; short n-grams punish ordinary language too.
    """
    # Distinct n-grams over all n-grams: 1 without any repetition, near 0 for a loop.
    grams = [tuple(ids[start : start + ngram]) for start in range(len(ids) - ngram + 1)]
    return len(set(grams)) / len(grams) - 1.0 if grams else 0.0


def tags(names: Sequence[str], weight: float = 1.0) -> Rule:
    """Pay the share of the tags `names` that stand exactly once in the response."""
    return Rule("tags", lambda rollout: tag_count(rollout.text, names), weight)


def tag_count(text: str, tags: Sequence[str]) -> float:
    """Return the share of `tags` that stand in the text exactly once, 0 to 1.

    A step towards the format for a model that hardly ever keeps it. It ignores order, so it is no substitute for the
    format rule.
    """
    return sum(text.count(tag) == 1 for tag in tags) / len(tags)


def tags_to_write(template: Template) -> tuple[str, ...]:
    """Return the tags that a response has to write itself; empty if the template has none."""
    if template.tags is None:
        return ()
    tags = template.tags
    # A tag that the prompt has already opened cannot be earned by the response.
    opened = () if template.opens_thought else (tags.open_thought,)
    answer = (tags.open_answer, tags.close_answer) if template.final == "answer" else ()
    return (*opened, tags.close_thought, *answer)
