"""The plain verifiers as the rest sees them: the scores of their functions, from other processes, and what was lost."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.judge.judge import evaluation_judge
from dianoia.judge.verification import count_verdicts, grade_rollouts
from dianoia.metrics.training_metrics import verdict_row
from dianoia.tasks.catalog import VERIFIERS, problem_source
from dianoia.tasks.plugins import PROBLEM_SETS
from dianoia.tasks.short_answers import (
    RULES,
    SHORT_ANSWER_VERIFIERS,
    Verdict,
    grade_many,
    shared_workers,
)
from dianoia.tasks.short_answers import worker_grading as grading
from dianoia.tasks.verifier import Grade, RunsIn
from dianoia.tasks.verifier_workers import Workers

Pair = tuple[Problem, str]

GOLDS = [
    "5", "-0.5", "1/3", "50%", "1,234", "1e3", "1/0", "five", "", " ", "Straße", "[1, 2.0]", "(1, 2)",
    "{'a': 1}", "{1: 2}", "{1, 2}", "True", "'a'", "a b \n c", "B", "(b)", "Paris", "x" * 10_001, "2¹⁰",
    "\ud800", "None", "NaN", "[" * 51 + "]" * 51, "1" * 5000,
]  # fmt: skip
ANSWERS = [
    *GOLDS, "5.0", "５", "-1/2", "0.3333", "50", "5000%", "1234", "12,34", "1000", "STRASSE", "[1,2]", "[2, 1]",
    '{"a": 1.0}', '{"1": 2}', "true", "1", '"a"', "```\n5\n```", "```text\na b\nc\n```", "a b  \n c\n\n", "b)",
    "B) Paris", "A) Paris", "**Paris**", "\\text{B}", "B or C", "\x00", "é", "e\u0301", " " * 30_000 + "5",
    "5" + "\n" * 200_000, "(" * 3000, "-" * 300 + "5", "9" * 257, "1e99", "1e100", "\u2212" + "5",
]  # fmt: skip
OPTIONS: list[Any] = [
    None, ["Rome", "Paris"], ["A) Rome", "B) Paris", "C) A) Oslo"], ["A) A) Rome", "B) B) Paris"], {"A": "Rome", "B": "Paris"},
    {"label": ["1", "2"], "text": ["Rome", "5"]}, {"label": [1, 2], "text": ["Rome", "Paris"]}, '["Rome", "Paris"]',
    '{"A": "Rome", "B": "Paris"}', "[", ["one"], ("Rome", "Paris"), [b"Rome", b"Paris"], {"A": object(), "B": "x"},
    {1: "Rome", 2: "Paris"}, [1, 2.5, "Paris"], [["Rome"], "Paris"], ["", "Paris"], {"C": "Rome", "D": "Paris"},
]  # fmt: skip
REQUESTS: list[dict[str, Any]] = [
    {}, {"kind": "write", "subject": "cats", "n": "2"}, {"kind": object(), "subject": "x"}, {"kind": "fact", "subject": "none"},
    {"kind": "write", "subject": None, "n": True}, {"kind": "unsafe", "subject": ["x"]},
]  # fmt: skip


def by_hand() -> Iterator[Pair]:
    """Every gold answer with every answer, to every verifier."""
    for verifier in RULES:
        for gold in GOLDS:
            problem = Problem("p", "?", gold, verifier, columns={"strange": object()})
            yield from ((problem, answer) for answer in ANSWERS)


def with_columns() -> Iterator[Pair]:
    for options in OPTIONS:
        for name in ("options", "choices"):
            for gold in ("B", "b) Paris", "Paris", "2", "5", "A) Rome"):
                problem = Problem("p", "?", gold, "choice", columns={name: options})
                yield from ((problem, answer) for answer in ANSWERS[:60] if len(answer) < 100)
    for columns in REQUESTS:
        for language in ("en", "zh", "fr"):
            yield Problem("p", "?", "5", "miniature", language=language, columns=columns), "5"


def of_sets() -> Iterator[Pair]:
    """The miniature's problems with their own answers, those of others, and spoilt ones."""
    chance = random.Random(5)
    for name in sorted(PROBLEM_SETS):
        problems = [p for p in problem_source(name).draw(3, 0, 150) if p.verifier in RULES]
        answers = [problem.answer for problem in problems]
        for problem in problems:
            good = problem.answer
            words = good.split(" ")
            chance.shuffle(words)
            spoilt = [
                good[:-1],
                good + ".",
                good + " Have a nice day!",
                good.upper(),
                " ".join(words),
            ]
            for answer in (good, *spoilt, *chance.sample(answers, 5)):
                yield problem, answer


@pytest.mark.parametrize("pairs", [by_hand, with_columns, of_sets])
def test_scores_are_exactly_those_of_the_functions(pairs: Any) -> None:
    items = list(pairs())
    assert len(items) > 5000
    expected = [RULES[problem.verifier](problem, answer) for problem, answer in items]
    grades = grade_many(items)
    actual = [grade.score for grade in grades]
    differ = [
        pair for pair, a, b in zip(items, expected, actual, strict=True) if repr(a) != repr(b)
    ]
    assert differ == []
    assert not any(grade.verdict for grade in grades), "none was lost"
    assert set(expected) >= ({0.0, 1.0} if pairs is of_sets else {None, 0.0, 1.0})


def test_the_catalogue_asks_the_workers_and_files_ask_the_functions() -> None:
    assert set(RULES) == {"number", "exact", "choice", "output", "value", "reference", "miniature"}
    for name, pure in RULES.items():
        assert (
            VERIFIERS[name] is SHORT_ANSWER_VERIFIERS[name]
            and VERIFIERS[name].runs_in is RunsIn.WORKERS
        )
        assert VERIFIERS[name].summary in " ".join((pure.__doc__ or "").split())


def test_no_answer_is_graded_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RULES:
        monkeypatch.setitem(RULES, name, lambda *_: pytest.fail("graded here"))  # type: ignore[index]
    assert VERIFIERS["number"](Problem("here", "?", "17", "number"), "17.0") == 1.0
    assert VERIFIERS["exact"](Problem("here", "?", "Here", "exact"), "there") == 0.0


def test_what_cannot_be_read_of_a_problem_is_the_same_error() -> None:
    digits = Problem("p", "?", "B", "choice", columns={"options": f"[{'1' * 5000}]"})
    with pytest.raises(ValueError, match="4300"):
        RULES["choice"](digits, "B")
    with pytest.raises(ValueError, match="4300"):
        VERIFIERS["choice"](digits, "B")


def rollout(problem: Problem, answer: str | None, sample: int = 0) -> Rollout:
    status = RolloutStatus.MALFORMED if answer is None else RolloutStatus.FINISHED
    return Rollout(problem, sample, (1,), Completion((2,), (0.0,), True), "", status, "", answer)


def test_a_batch_is_one_errand_and_then_at_hand() -> None:
    problems = [Problem("b", "?", "811", name) for name in ("number", "exact", "output")]
    rollouts = [rollout(p, a) for p in problems for a in ("811", "812", "811.0", None, "812")]
    before = sum(shared_workers().ended.values())
    grade_rollouts(rollouts)
    ended_before = sum(shared_workers().ended.values())
    assert ended_before == before + 1, "nine different answers fit into one lot"
    groups = evaluation_judge().score_rollouts([rollouts[:5], rollouts[5:10], rollouts[10:]])
    assert [[s.parts["accuracy"] for s in group.scores] for group in groups] == [
        [1.0, 0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0],
    ]  # fmt: skip
    assert sum(shared_workers().ended.values()) == ended_before


def test_what_is_lost_is_counted_by_what_became_of_it(
    obedient: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grading, "_WORKERS", obedient)
    number, text, open_ = (
        Problem("l", "?", "1", name) for name in ("number", "exact", "reference")
    )
    rollouts_PG = [
        [rollout(number, answer) for answer in ("1", "loop", "0", "memory", None)],
        [rollout(text, answer) for answer in ("1", "exit", "loop", "0", "0")],
    ]
    groups = evaluation_judge().score_rollouts(rollouts_PG)
    assert [[s.parts["accuracy"] for s in group.scores] for group in groups] == [
        [1.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0],
    ]  # fmt: skip
    counts = count_verdicts((g.problem, score.verdict) for g in groups for score in g.scores)
    assert verdict_row(counts) == {
        "plain/timed_out": 2, "plain/out_of_memory": 1, "plain/crashed": 1
    }  # fmt: skip
    (grade,) = VERIFIERS["reference"].grade([(open_, "loop")])
    assert grade == Grade(None, Verdict.TIMED_OUT), "a model may still judge it"


def test_nothing_is_started_before_the_first_answer_and_workers_know_no_torch() -> None:
    code = (
        "import json, sys, dianoia.judge.verification, dianoia.tasks.catalog; "
        "from dianoia.tasks.short_answers import worker_grading as verifier; assert not verifier._WORKERS.started; "
        "assert 'torch' not in sys.modules, 'imported'; "
        "from dianoia.base.records import Problem; "
        "print(json.dumps(verifier.SHORT_ANSWER_VERIFIERS['number'](Problem('p', '?', '5', 'number'), '5')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout and json.loads(done.stdout)) == (0, 1.0), done.stderr
