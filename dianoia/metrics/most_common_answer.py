"""The accuracy of one and the same answer to every problem, and the share of a model's most common answer.

In: scored groups. Out: the baseline of an evaluation (the most common gold answer as the answer to every problem), and
the answer that a model gives most often. Not here: diagnoses that follow from them (`judge.diagnosis`).

Decisions:
1. The baseline is graded by each problem's own verifier. The TRIED most common gold answers are tried, and the letters
   of multiple choice, and the best one counts; it is known only with the gold answers at hand, so that a model that does not think can hardly do better.
2. For problems about programs, and others with many right answers, a gold answer counts as right only for its own
   problem: there the baseline is a lower bound.
3. Answers are the same where they are equal as bare numbers or name the same letter, else as texts
   (`votes.answer_key`).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from dianoia.base.records import Group, Problem
from dianoia.judge.group_summary import OneAnswer
from dianoia.metrics.votes import answer_key, graded_right, is_by_text, is_whole
from dianoia.tasks.short_answers.choice import LETTERS, option_index, read_options
from dianoia.tasks.short_answers.number_and_text import parse_number
from dianoia.tasks.short_answers.wrappings import unwrapped

TRIED = 3
"""Gold answers that are tried as the answer to every problem."""
_NUMERIC = frozenset({"number", "math"})
_FRACTION = re.compile(
    r"(-?)\\[dt]?frac\s*(?:\{\s*([0-9]{1,30})\s*\}|([0-9]))\s*(?:\{\s*([0-9]{1,30})\s*\}|([0-9]))"
)
"""A fraction of whole numbers, in braces or of one digit each: `\\frac{10}{21}`, `\\dfrac12`."""

Key = str | Fraction


@dataclass(frozen=True, slots=True)
class Constant:
    """One answer, taken as the answer to every problem."""

    answer: str
    share_P: tuple[float, ...]
    """Grade of each problem under it, or the share of the problem's answers that are this one."""


def most_common_gold(problems: Sequence[Problem], ask: bool = True) -> Constant:
    """Find the gold answer that is right most often if it is the answer to every problem; decisions 1 and 2.

    Without `ask` no verifier is asked, and a gold answer is right where the gold answer is the same (decision 3).
    """
    keys = [_key(problem, problem.answer) for problem in problems]
    # The first gold answer of each key, since later entries of a dictionary win.
    texts = {key: p.answer for key, p in zip(reversed(keys), reversed(problems), strict=True)}
    # An empty key is a problem without a gold text, so there is no answer to try.
    counts = Counter(key for key in keys if key != "")
    tried = [texts[key] for key, _ in counts.most_common(TRIED)]
    # Letters too: the most common gold letter may be written in several ways in the data.
    if ask and any(problem.verifier == "choice" for problem in problems):
        tried += LETTERS
    constants = [Constant(answer, _grades(answer, problems, keys, ask)) for answer in tried]
    # For a set without any gold answer, such as programs alone.
    nothing = Constant("", (0.0,) * len(problems))
    # Of equally good ones the first, which is the more frequent gold answer.
    return max(constants, key=lambda constant: sum(constant.share_P), default=nothing)


def _grades(
    answer: str, problems: Sequence[Problem], keys: Sequence[Key], ask: bool
) -> tuple[float, ...]:
    # Equal keys are right without asking: they are the same number, option or text.
    equal = [_key(problem, answer) == key for problem, key in zip(problems, keys, strict=True)]
    # A verifier is asked only where the keys differ and it might still accept the answer.
    undecided = [
        index
        for index, problem in enumerate(problems)
        if ask
        and not equal[index]
        and not is_by_text(problem.verifier)
        and not (is_whole(problem, answer) and is_whole(problem, problem.answer))
    ]
    for index, right in zip(
        undecided, graded_right([(problems[index], answer) for index in undecided]), strict=True
    ):
        equal[index] = right
    return tuple(map(float, equal))


def most_common_answer(groups: Sequence[Group]) -> Constant | None:
    """Find the answer that was given most often, to whichever problem; problems without any answer are left out.

    None where nothing was answered.
    """
    answers_PG = [
        [(_key(g.problem, r.answer), r.answer) for r in g.rollouts if r.answer is not None]
        for g in groups
    ]
    counts = Counter(key for answers_G in answers_PG for key, _ in answers_G)
    if not counts:
        return None
    # Ties go to the answer that was given first.
    ((most, _),) = counts.most_common(1)
    answer = next(text for answers_G in answers_PG for key, text in answers_G if key == most)
    shares = [
        sum(key == most for key, _ in answers_G) / len(answers_G)
        for answers_G in answers_PG
        if answers_G
    ]
    return Constant(answer, tuple(shares))


def one_answer(groups: Sequence[Group]) -> OneAnswer | None:
    """Compare the most common answer with the most common gold answer, for diagnoses; None where nothing was answered."""
    answer = most_common_answer(groups)
    if answer is None:
        return None
    # Without the verifiers, since this runs after every rollout of training.
    gold = most_common_gold([group.problem for group in groups], ask=False)
    return OneAnswer(
        answer=answer.answer,
        share=sum(answer.share_P) / len(answer.share_P),
        gold_share=sum(gold.share_P) / len(gold.share_P),
        problems=len(answer.share_P),
    )


def _key(problem: Problem, answer: str) -> Key:
    """Return the key by which answers are the same: option letter, number, or text (decision 3)."""
    if problem.verifier == "choice":
        option = option_index(answer, read_options(problem) or [])
        return answer_key(problem, answer) if option is None else LETTERS[option]
    # Numbers as exact fractions: `2` and `2.0` are one key, and `0.5` and `\\frac{1}{2}` to a verifier that reads LaTeX.
    number = _number(answer, problem.verifier == "math") if problem.verifier in _NUMERIC else None
    return answer_key(problem, answer) if number is None else number


# Samples repeat few answers many times.
@lru_cache(maxsize=4096)
def _number(answer: str, latex: bool) -> Fraction | None:
    """Return the number that an answer is; None if it is none. `latex`: to a verifier that reads LaTeX."""
    return parse_number(_plain(answer, latex))


def _plain(answer: str, latex: bool) -> str:
    """Return a fraction in LaTeX with a stroke; any other answer as it is. `latex`: what is around a fraction is taken off."""
    bare = unwrapped(answer) if latex and "frac" in answer else answer
    match = _FRACTION.fullmatch(bare.strip())
    return answer if match is None else f"{match[1]}{match[2] or match[3]}/{match[4] or match[5]}"
