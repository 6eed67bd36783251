"""Votes: answers that mean the same to the verifier vote together, whatever they look like."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from dianoia.base.records import Completion, Group, Problem, Rollout, RolloutStatus, Score
from dianoia.judge.judge import evaluation_judge
from dianoia.metrics import votes
from dianoia.metrics.group_metrics import measures
from dianoia.metrics.votes import MOST_TEXTS, with_votes
from dianoia.tasks.verifier import Grade, Pair

OPTIONS = {"options": ["Rome", "Paris", "Oslo", "Bern"]}
CUT = None


def rollout(problem: Problem, sample: int, answer: str | None) -> Rollout:
    done = Completion((1,), (0.0,), answer is not None)
    status = RolloutStatus.TRUNCATED if answer is None else RolloutStatus.FINISHED
    return Rollout(problem, sample, (1,), done, "", status, "", answer)


def group(
    verifier: str, gold: str, answers: Sequence[str | None], columns: dict[str, Any] | None = None
) -> Group:
    """The answers, graded by the verifier itself."""
    problem = Problem("p", "What is it?", gold, verifier, columns=columns or {})
    rollouts = [rollout(problem, n, answer) for n, answer in enumerate(answers)]
    (scored,) = evaluation_judge().score_rollouts([rollouts])
    return scored


def cons(first: Group) -> float:
    k = len(first.rollouts)
    return measures([first], lambda texts: [0] * len(texts))[f"cons@{k}"].value


def sizes(first: Group) -> list[int]:
    """Votes of each class, largest first."""
    (counted,) = with_votes([first])
    assert counted.votes_G is not None
    cast = [vote for vote in counted.votes_G if vote is not None]
    return sorted((cast.count(vote) for vote in set(cast)), reverse=True)


RIGHT_BY_EQUIVALENCE = [
    # (verifier, gold, answers with their counts, columns): the right class is the largest by meaning alone
    ("math", r"\frac12", {r"\frac12": 5, "0.5": 4, "2": 6}, None),
    ("math", "5", {"x=5": 3, "5": 3, "6": 5}, None),
    ("math", r"\frac{3}{4}", {"0.75": 2, "3/4": 2, r"\frac34": 2, "4": 5}, None),
    ("math", r"2\sqrt{2}", {r"\sqrt{8}": 3, r"2\sqrt{2}": 2, "3": 4}, None),
    ("math", "(x+1)^2", {"x^2+2x+1": 3, "(x+1)^2": 2, "x^2+1": 4}, None),
    ("number", "1/2", {"0.5": 3, "1/2": 2, "2": 4}, None),
    ("number", "0.5", {"0.5": 2, r"\frac{1}{2}": 2, r"\dfrac12": 2, "2": 4}, None),
    ("number", "1000", {"1,000": 2, "1000": 2, "1000.0": 2, "7": 5}, None),
    ("choice", "B", {"B": 2, "(B)": 2, "b.": 2, "Paris": 1, "C": 6}, OPTIONS),
    ("exact", "yes", {"Yes": 3, "yes": 3, "YES": 1, "no": 6}, None),
    ("exact", "New York", {"new york": 3, "New  York": 3, "Boston": 5}, None),
    ("value", "[1, 2]", {"[1,2]": 3, "(1, 2)": 3, "[2, 1]": 5}, None),
    ("output", "a b", {"a b": 3, "a b\n": 3, "ab": 5}, None),
    ("reference", "Paris", {"paris": 3, "Paris": 3, "Rome": 5}, None),
]


@pytest.mark.parametrize(("verifier", "gold", "counts", "columns"), RIGHT_BY_EQUIVALENCE)
def test_right_answers_vote_together_however_they_are_written(
    verifier: str, gold: str, counts: dict[str, int], columns: dict[str, Any] | None
) -> None:
    answers = [answer for answer, count in counts.items() for _ in range(count)]
    assert cons(group(verifier, gold, answers, columns)) == 1.0
    random.Random(1).shuffle(answers)
    assert cons(group(verifier, gold, answers, columns)) == 1.0, "in any order"


WRONG_BY_EQUIVALENCE = [
    # the wrong answers are one class, which outvotes the right one
    ("math", "7", {"7": 5, r"\frac13": 2, "1/3": 2, r"\frac{2}{6}": 2}, None),
    ("math", "7", {"7": 3, "x=5": 2, "5": 2}, None),
    ("math", "7", {"7": 3, r"\sqrt{8}": 2, r"2\sqrt2": 2}, None),
    ("number", "7", {"7": 3, "0.5": 2, "1/2": 2}, None),
    ("number", "7", {"7": 3, "0.5": 2, r"\frac{1}{2}": 2}, None),
    ("number", "7", {"7": 3, "1,000": 1, "1000": 1, "1000.": 1, "1e3": 1}, None),
    ("choice", "A", {"A": 3, "B": 1, "(B)": 1, "Paris": 1, "b": 1}, OPTIONS),
    ("exact", "maybe", {"maybe": 3, "yes": 2, "Yes": 2}, None),
    ("value", "7", {"7": 3, "[1, 2]": 2, "(1,2)": 2}, None),
    ("gym", "", {"no": 3, "yes": 2, "Yes": 2}, None),
]


@pytest.mark.parametrize(("verifier", "gold", "counts", "columns"), WRONG_BY_EQUIVALENCE)
def test_wrong_answers_vote_together_too(
    verifier: str, gold: str, counts: dict[str, int], columns: dict[str, Any] | None
) -> None:
    answers = [answer for answer, count in counts.items() for _ in range(count)]
    right, *others = counts.values()
    assert sizes(group(verifier, gold, answers, columns)) == sorted(
        (right, sum(others)), reverse=True
    )


def test_what_means_something_else_does_not_vote_together() -> None:
    assert sizes(group("math", "9", ["5", "50%", "5/2", "2/5", "5x", "-5"])) == [1] * 6
    assert sizes(group("number", "9", ["5", "50", "0.05", "5/2", "-5"])) == [1] * 5
    assert sizes(group("exact", "x", ["5", "5.0"])) == [1, 1], "texts to this verifier"
    assert sizes(group("output", "x", ["a\nb", "a\nb\n", "a b", "a\n\nb"])) == [2, 1, 1], "lines"
    assert sizes(group("value", "7", ["'a  b'", "'a b'", '"a b"'])) == [2, 1], "inside quotes"
    assert sizes(group("choice", "A", ["B", "C", "Oslo"], OPTIONS)) == [2, 1], "Oslo is C"


@pytest.mark.parametrize(
    ("verifier", "unreadable", "columns"),
    [
        ("number", "I do not know", None),
        ("number", "about 5", None),
        ("number", "", None),
        ("choice", "A or B", OPTIONS),
        ("choice", "Madrid", OPTIONS),
        ("value", "[1, 2", None),
        ("math", "5" * 20_001, None),
        ("exact", "x" * 10_001, None),
    ],
)
def test_an_answer_that_cannot_be_read_is_no_vote(
    verifier: str, unreadable: str, columns: dict[str, Any] | None
) -> None:
    gold = "A" if columns else "5"
    members = group(verifier, gold, [unreadable] * 6 + [gold, gold, CUT], columns)
    (counted,) = with_votes([members])
    assert counted.votes_G == (None,) * 6 + (0, 0, None)
    assert cons(members) == 1.0


def test_nobody_votes() -> None:
    members = group("number", "5", [CUT, CUT, "?"])
    assert with_votes([members])[0].votes_G == (None, None, None)
    assert cons(members) == 0.0


def test_a_tie_is_shared_and_does_not_depend_on_the_order() -> None:
    answers = ["1/2", "0.5", "3", "3.0", "8", "8"]  # three classes of two, one of them right
    for seed in range(5):
        random.Random(seed).shuffle(answers)
        assert cons(group("number", "0.5", answers)) == pytest.approx(1 / 3)


def test_classes_are_numbered_by_first_sample() -> None:
    members = group("math", "7", ["1/3", "7", r"\frac13", CUT, "7.0", "9"])
    assert with_votes([members])[0].votes_G == (0, 1, 0, None, 1, 2)


def test_a_percentage_joins_one_of_two_numbers_in_any_order() -> None:
    """50 % accepts 50 and 0.5, which differ: the most common text decides, and not the first."""
    answers = ["50%", "50", "50", "0.5"]
    results = set()
    for _ in range(4):
        answers = [*answers[1:], answers[0]]
        results.add(tuple(sizes(group("number", "7", answers))))
    assert results == {(3, 1)}


def test_programs_vote_by_text_and_grade() -> None:
    problem = Problem("p", "", "", "code")
    answers = ["print(1)", "print(1)\n", "print( 1 )", "Print(1)"]
    scores = tuple(Score(grade, {"accuracy": grade}) for grade in (1.0, 1.0, 1.0, 0.0))
    rollouts = tuple(rollout(problem, n, answer) for n, answer in enumerate(answers))
    (counted,) = with_votes([Group(problem, rollouts, scores)])
    assert counted.votes_G == (0, 0, 1, 2), "nothing is run"


def test_general_prompts_have_no_votes_and_votes_are_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = Problem("p", "", "", "reference")
    general = Group(problem, (rollout(problem, 0, "a"),), (Score(1.0, {"format": 1.0}),))
    members = with_votes([group("math", "7", ["1/3", r"\frac13"])])
    monkeypatch.setattr(votes, "grade", None)  # whoever asks again fails
    assert with_votes([*members, general]) == [*members, general] and general.votes_G is None


def test_the_number_of_comparisons_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most MOST_TEXTS (MOST_TEXTS - 1) besides one a text; the rare ones vote with their equals."""
    task: list[tuple[Problem, str]] = []

    def never(pairs: Sequence[Pair]) -> list[Grade]:
        task.extend(pairs)
        return [Grade(float(problem.answer == answer)) for problem, answer in pairs]

    many = [f"t{n}" for n in range(MOST_TEXTS + 40)]
    members = group("exact", "gold", [*many, "t0", "T 71"])
    monkeypatch.setattr(votes, "grade", never)
    assert sizes(members) == [2] + [1] * (len(many))
    assert len(task) == len(many) + 1 + MOST_TEXTS * (MOST_TEXTS - 1)


def test_whole_numbers_are_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    members = group("math", "7", [str(n) for n in range(20, 40)])
    monkeypatch.setattr(votes, "grade", None)
    assert sizes(members) == [1] * 20


def test_problems_are_counted_apart() -> None:
    first, second = group("math", "7", ["1/3", "0.5"]), group("math", "8", [r"\frac13", "0.5"])
    second = replace(second, problem=replace(second.problem, id="q"))
    assert [members.votes_G for members in with_votes([first, second])] == [(0, 1), (0, 1)]


def test_answers_of_a_problem_whose_gold_cannot_be_read() -> None:
    assert sizes(group("number", "five", ["5", "5.0", "6"])) == [2, 1]
