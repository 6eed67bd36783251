"""The verifier from outside: scores, counts of verdicts, problem files, a training process that imports nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dianoia.base.errors import ProblemFileError
from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.judge.judge import evaluation_judge
from dianoia.judge.verification import count_verdicts
from dianoia.tasks.catalog import VERIFIERS, problem_source
from dianoia.tasks.math import (
    MATH,
    Judgement,
    Verdict,
    grade_many,
    judged,
    shared_workers,
)
from dianoia.tasks.verifier import Grade
from dianoia.tasks.verifier_workers import Workers

PROBLEM = Problem("p", "Solve x^2 = 2 for x > 0.", r"\sqrt{2}", "math")


def rollout(answer: str | None, sample: int, problem: Problem = PROBLEM) -> Rollout:
    status = RolloutStatus.MALFORMED if answer is None else RolloutStatus.FINISHED
    return Rollout(problem, sample, (1,), Completion((2,), (0.0,), True), "", status, "", answer)


def test_scores_verdicts_and_reasons() -> None:
    assert VERIFIERS["math"] is MATH
    assert MATH(PROBLEM, r"\frac{2}{\sqrt{2}}") == 1.0
    assert MATH(PROBLEM, "1.5") == 0.0
    assert MATH(Problem("p", "?", "see above", "math"), "1.5") is None
    pairs = [(PROBLEM, r"\sqrt{2}"), (PROBLEM, "2"), (PROBLEM, "It is 2")]
    assert grade_many(pairs) == [
        Grade(1.0, Verdict.RIGHT),
        Grade(0.0, Verdict.WRONG),
        Grade(0.0, Verdict.UNREADABLE, "text_before"),
    ]
    assert grade_many([]) == []


def test_texts_that_are_too_long_are_not_sent_to_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workers, "pool", lambda _: pytest.fail("sent"))
    assert judged([(PROBLEM, "1" * 20_001)]) == [Judgement(Verdict.TOO_LARGE)]
    assert judged([(Problem("p", "?", "1" * 20_001, "math"), "1")]) == [
        Judgement(Verdict.GOLD_UNREADABLE)
    ]


def test_equal_answers_are_graded_once() -> None:
    workers = shared_workers()
    ended_before = sum(workers.ended.values())
    problem = Problem("p", "?", "41", "math")
    grade_many([(problem, "42")] * 8)
    assert sum(workers.ended.values()) == ended_before + 1
    grades = grade_many([(problem, "42"), (problem, "41.0"), (problem, "42")])
    assert [grade.score for grade in grades] == [0.0, 1.0, 0.0]
    assert sum(workers.ended.values()) == ended_before + 2


def test_the_same_answer_to_another_question_is_graded_again() -> None:
    plain, task = (Problem("p", q, "391", "math") for q in ("?", "What is 17*23?"))
    grades = grade_many([(plain, "17*23"), (task, "17*23")])
    assert [grade.score for grade in grades] == [1.0, 0.0]


def test_a_group_is_scored_and_its_verdicts_are_counted() -> None:
    answers = [r"\sqrt2", "2", "It is 2", "9^9^9^9", None]
    rollouts = [rollout(answer, sample) for sample, answer in enumerate(answers)]
    (group,) = evaluation_judge().score_rollouts([rollouts])
    counts = count_verdicts((group.problem, score.verdict) for score in group.scores)
    assert [score.parts["accuracy"] for score in group.scores] == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert set(counts) == {"math"}
    nonzero = {verdict: count for verdict, count in counts["math"].items() if count}
    assert nonzero == {
        "right": 1,
        "wrong": 1,
        "unreadable": 1,
        "unreadable/text_before": 1,
        "too_large": 1,
    }
    assert counts["math"]["timed_out"] == 0


def test_a_file_with_an_unreadable_gold_answer_is_refused_with_its_row(tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    golds = [r"\sqrt{2}", r"\frac{1}{", "5"]
    rows = [{"question": f"q{n}?", "answer": gold, "verifier": "math"} for n, gold in enumerate(golds)]  # fmt: skip
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(ProblemFileError, match=r"row 2") as refusal:
        problem_source(str(file))
    assert "'math'" in str(refusal.value)


def test_nothing_is_started_or_imported_before_the_first_answer() -> None:
    code = (
        "import sys, dianoia.tasks.catalog, dianoia.judge.verification; from dianoia.tasks.math import math_verifier as verifier; "
        "assert not [n for n in ('mpmath', 'dianoia.tasks.math.grammar', 'torch') if n in sys.modules], 'imported'; "
        "assert not verifier._WORKERS.started"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
