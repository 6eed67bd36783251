"""Votes: answers to a problem that mean the same to the problem's verifier are one class.

In: scored groups. Out: the same groups with the class of every answer (`Group.votes_G`), computed once and kept with
the rollouts, so that metrics, curves and reports count the same votes. Not here: the value of a majority
(`algo.estimates`).

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, section D.1: "majority vote") is silent:
1. Answers that were graded right are one class. Each other answer is compared with the others by the verifier
   itself: one of a pair takes the place of the gold answer, in either direction, since a verifier may accept `5` for
   `x = 5` and not the reverse. Right and wrong answers never share a class.
2. A malformed or truncated sample has no answer and no vote. Nor has an answer that the verifier cannot read as a
   gold answer: it says nothing that others could agree with.
3. Verifiers for which many different answers are right (`is_by_text`) compare with tests or rules and not with a gold
   answer, and running a program a pair costs too much: their classes are equal texts of one grade. A program's text
   is taken as it is; of other answers spacing and case do not count.
4. The MOST_TEXTS most common different texts of a problem are compared, by votes and then by text; a rarer one votes
   with its equals alone. At most MOST_TEXTS (MOST_TEXTS - 1) comparisons per problem, and none of two whole numbers.
5. Answers are compared with the most common first, so that the classes depend on the answers and not on their order.
   Classes are numbered by their first sample.
"""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from dianoia.base.records import Group, Problem
from dianoia.distributed.shares import share_out
from dianoia.judge.reward_part import ACCURACY
from dianoia.judge.verification import grade
from dianoia.tasks.plugins import PLUGIN_VERIFIERS
from dianoia.tasks.short_answers.number_and_text import normalize

_BY_TEXT = frozenset({"code", "input", "gym"})
"""Built-in verifiers that do not look at the gold answer."""
MOST_TEXTS = 64
"""Different texts of one problem that are compared with one another."""
_AT_ONCE = 4096
"""Most comparisons that are handed to the workers together; they remember more than that."""
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,99}")
_OF_WHOLE_NUMBERS = frozenset({"number", "math"})
"""Verifiers for which two whole numbers in digits alone are equal where they are the same text, and only there."""
_CASELESS = frozenset({"exact", "reference", "gym"})
"""Verifiers that look at no case, or whose answers are compared here alone."""
_WITH_SPACES = frozenset({"code", "gym"})
"""Those of them whose answers differ if their spaces do; other answers are a line or two."""
_RIGHT = ("right",)
"""Key of the class of answers that were graded right."""


def with_votes(groups: Sequence[Group]) -> list[Group]:
    """Give the groups their votes; those that have them already, and those without an accuracy, stay as they are.

    Raises:
        VerifierError: no worker process could be started.
    """
    # Groups that have their votes, or no accuracy, are passed through.
    open_groups = [group for group in groups if _is_open(group)]
    if not open_groups:
        return list(groups)
    sizes = [len(group.rollouts) for group in open_groups]
    votes = iter(share_out(open_groups, _votes, sizes, "gather votes"))
    return [replace(group, votes_G=next(votes)) if _is_open(group) else group for group in groups]


def _votes(groups: Sequence[Group]) -> list[tuple[int | None, ...]]:
    """Return the class of every answer of each group."""
    ballots = [_ballot(group) for group in groups]
    _compare(ballots)
    return [ballot.classes() for ballot in ballots]


def votes_PG(groups: Sequence[Group]) -> list[tuple[int | None, ...]]:
    """Return the class of every answer of groups that have an accuracy, counted where they are not yet."""
    return [group.votes_G or () for group in with_votes(groups)]


def answer_key(problem: Problem, answer: str) -> str:
    """Write an answer as the text that others are compared with.

    White space around it is left out; differences in case and spacing too, where the verifier does not look at them or
    compares no texts at all.
    """
    if problem.verifier in _CASELESS:
        return normalize(answer) or answer.strip()
    if is_by_text(problem.verifier) and problem.verifier not in _WITH_SPACES:
        return " ".join(answer.split())
    return answer.strip()


def is_by_text(verifier: str) -> bool:
    """Return True for a verifier that does not look at the gold answer, so that answers are compared as texts."""
    plugin = PLUGIN_VERIFIERS.get(verifier)
    # A plugin declares it; every other verifier compares with the gold answer.
    return verifier in _BY_TEXT or (plugin is not None and not plugin.compares_gold)


def _is_open(group: Group) -> bool:
    return group.votes_G is None and any(ACCURACY in score.parts for score in group.scores)


@dataclass(slots=True)
class _Ballot:
    """The answers to one problem while their classes are determined."""

    problem: Problem
    keys_G: list[Hashable | None]
    """A class by its key; a text is an answer that has to be compared; None does not vote."""
    waiting: list[str] = field(default_factory=list)
    """Texts without a class, the most common first."""
    # Filled round by round in `_compare`.
    class_of: dict[str, Hashable | None] = field(default_factory=dict)
    """Class of each text that was compared."""

    def classes(self) -> tuple[int | None, ...]:
        """Number the class of each sample, by first sample."""
        # A text that was not compared (decision 4) is a class of its own.
        keys_G = [
            self.class_of.get(key, key) if isinstance(key, str) else key for key in self.keys_G
        ]
        # Numbers in order of first appearance, so that votes do not depend on the keys.
        numbers = {
            key: n for n, key in enumerate(dict.fromkeys(k for k in keys_G if k is not None))
        }
        return tuple(None if key is None else numbers[key] for key in keys_G)

    def with_gold(self, text: str) -> Problem:
        """Put a text in the place of the problem's gold answer."""
        return replace(self.problem, answer=text)


def _ballot(group: Group) -> _Ballot:
    """Sort a group's answers: right ones and programs have their class at once, the others wait to be compared."""
    ballot = _Ballot(group.problem, [])
    # Such a verifier runs tests or rules, and comparing two answers by it has no meaning.
    by_text = is_by_text(group.problem.verifier)
    for rollout, score in zip(group.rollouts, group.scores, strict=True):
        grade = score.parts.get(ACCURACY)
        key: Hashable | None = None
        if rollout.answer is not None:
            text = answer_key(group.problem, rollout.answer)
            if by_text:
                key = (text, grade)
            else:
                # All right answers are one class, however they are written.
                key = _RIGHT if (grade or 0.0) >= 1.0 else text
        ballot.keys_G.append(key)
    counts = Counter(key for key in ballot.keys_G if isinstance(key, str))
    # Most common first (decision 5); ties by text, so that the order of samples does not matter.
    ballot.waiting = sorted(counts, key=lambda text: (-counts[text], text))
    return ballot


# Comparing ---------------------------------------------------------------------------------------


def _compare(ballots: Sequence[_Ballot]) -> None:
    """Give every waiting text its class: one text of each problem after another, those of all problems together."""
    _drop_unreadable(ballots)
    for ballot in ballots:
        ballot.waiting = ballot.waiting[:MOST_TEXTS]  # a rarer text is its own class
    # A round takes the most common text of each problem as gold and asks about all that still wait, so that
    # the workers get the pairs of all problems at once.
    while busy := [ballot for ballot in ballots if ballot.waiting]:
        firsts = [(ballot, ballot.waiting.pop(0)) for ballot in busy]
        # Each waiting text against the text that was taken out of its ballot.
        pairs = [(ballot, first, text) for ballot, first in firsts for text in ballot.waiting]
        for ballot, first in firsts:
            # A class is named by its first text; `classes` numbers them at the end.
            ballot.class_of[first] = first
        for (ballot, first, text), same in zip(pairs, _same(pairs), strict=True):
            if same:
                ballot.class_of[text] = first
        for ballot in busy:
            ballot.waiting = [text for text in ballot.waiting if text not in ballot.class_of]


def _drop_unreadable(ballots: Sequence[_Ballot]) -> None:
    """Take the vote from texts that their verifier does not find equal to themselves."""
    # A text that the verifier cannot read as a gold answer equals nothing, not even itself.
    questions = [
        (ballot, text)
        for ballot in ballots
        for text in ballot.waiting
        if not is_whole(ballot.problem, text)
    ]
    equal = graded_right([(ballot.with_gold(text), text) for ballot, text in questions])
    for (ballot, text), same in zip(questions, equal, strict=True):
        if not same:
            # None: no vote (decision 2).
            ballot.class_of[text] = None
    for ballot in ballots:
        ballot.waiting = [text for text in ballot.waiting if text not in ballot.class_of]


def _same(pairs: Sequence[tuple[_Ballot, str, str]]) -> list[bool]:
    """Decide whether both texts of each pair mean the same: the first as gold, and where that says no, the second."""
    equal = [False] * len(pairs)
    # Indices into (ballot, first, text): each text in turn as the gold answer.
    for gold, answer in ((1, 2), (2, 1)):
        # Only pairs that the first direction did not find equal are compared in the second.
        undecided = [
            index
            for index, (ballot, *texts) in enumerate(pairs)
            # Two whole numbers are here only if they are not one text, and then they differ.
            if not equal[index] and not all(is_whole(ballot.problem, text) for text in texts)
        ]
        questions = [
            (pairs[index][0].with_gold(str(pairs[index][gold])), str(pairs[index][answer]))
            for index in undecided
        ]
        for index, same in zip(undecided, graded_right(questions), strict=True):
            equal[index] = same
    return equal


def is_whole(problem: Problem, text: str) -> bool:
    """Recognise a whole number to a verifier that compares numbers: readable, and equal to no other one."""
    return problem.verifier in _OF_WHOLE_NUMBERS and bool(_WHOLE.fullmatch(text))


def graded_right(pairs: Sequence[tuple[Problem, str]]) -> list[bool]:
    """Ask each problem's verifier whether the answer is right, many at a time."""
    right: list[bool] = []
    # In slices, so that the workers' memory of grades is not overrun.
    for start in range(0, len(pairs), _AT_ONCE):
        # Exactly 1: partial credit does not make two answers mean the same.
        right += [result.score == 1.0 for result in grade(pairs[start : start + _AT_ONCE])]
    return right
