"""reasoning-gym's tasks, each graded: its own gold answers 1, junk 0, the same problems in every process."""

import hashlib
import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dianoia.sandbox.sandbox import STRONG, UNSANDBOXED, VARIABLE, offered
from dianoia.tasks.catalog import VERIFIERS, problem_source
from dianoia.tasks.gym import OFFERED, REFUSED, gym_problems

pytestmark = [
    pytest.mark.slow,
    # Imported by the test, since it takes a second.
    pytest.mark.skipif(
        importlib.util.find_spec("reasoning_gym") is None,
        reason="reasoning-gym is not installed: pip install 'dianoia-r1[gym]'",
    ),
]
COUNT = 10
STRONGEST = next((name for name in STRONG if offered(name) is None), UNSANDBOXED)

JUNK = {
    "blank": lambda _question, _gold: " \n\t ",
    "prose": lambda _question, _gold: "I do not know, sorry.",
    "the question": lambda question, _gold: question,
    "the gold answer twice": lambda _question, gold: f"{gold}\n{gold}",
    "the gold answer in a sentence": lambda _question, gold: f"I think it is {gold}, or not.",
    "the gold answer and more": lambda _question, gold: f"{gold} 1",
    "a number": lambda _question, _gold: "987654321",
    "no number": lambda _question, _gold: "nan",
    "code": lambda _question, _gold: "__import__('os').getpid()",
    "code that loops": lambda _question, _gold: "[x for x in iter(int, 1)]",
    "control characters": lambda _question, _gold: "\0\a\x1b[2J",
    "brackets": lambda _question, _gold: "[" * 5000,
    "nothing": lambda _question, _gold: "None",
    "a megabyte": lambda _question, gold: gold[:1] * 2**20,
}


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, STRONGEST)


def test_every_task_is_either_offered_or_refused_with_its_reason() -> None:
    assert not OFFERED.keys() & REFUSED.keys()
    assert OFFERED.keys() | REFUSED.keys() == set(
        importlib.import_module("reasoning_gym.factory").DATASETS
    )


@pytest.mark.parametrize("task", sorted(OFFERED))
def test_gold_scores_one_and_junk_nothing(task: str) -> None:
    source = problem_source(f"gym/{task}")
    before = random.getstate()
    problems = source.draw(1, 0, COUNT)
    assert random.getstate() == before, "the process's own random numbers"
    golds = {problem.answer for problem in problems}
    for problem in problems:
        verify = VERIFIERS[problem.verifier]
        assert verify(problem, problem.answer) == 1.0, problem
        for family, make in JUNK.items():
            assert verify(problem, make(problem.question, problem.answer)) == 0.0, (family, problem)
        if problem.verifier != "gym":  # where one answer is right, any other is wrong
            for other in golds - {problem.answer}:
                assert verify(problem, other) == 0.0, (other, problem)


@pytest.mark.parametrize("task", sorted(OFFERED))
def test_training_and_held_out_problems_share_no_question(task: str) -> None:
    source = problem_source(f"gym/{task}")
    heldout = {problem.question for problem in source.heldout(COUNT)}
    first, second = ([p.question for p in source.draw(seed, 0, 2 * COUNT)] for seed in (1, 2))
    assert heldout and not heldout & {*first, *second}
    assert first[1:] != second[:-1] and first[:-1] != second[1:], "no list is the other one, moved"
    assert source.draw(1, 3, 2) == source.draw(1, 0, 5)[3:], (
        "a problem does not depend on its batch"
    )


DIGESTS = """
import hashlib
from dianoia.tasks.gym import OFFERED, gym_problems
for task in sorted(OFFERED):
    problems = gym_problems("gym/" + task).draw(1, 0, 3)
    print(task, hashlib.sha256(repr(problems).encode()).hexdigest())
"""


def test_every_process_makes_the_same_problems() -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    ours = [
        f"{task} {hashlib.sha256(repr(gym_problems('gym/' + task).draw(1, 0, 3)).encode()).hexdigest()}"
        for task in sorted(OFFERED)
    ]
    assert outputs[0] == outputs[1] == ours


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        ("countdown", ["24", "1+1", "9**9**9", "__import__('os').getpid()", "1/0", "(1"]),
        ("simple_integration", ["x", "C", "9**9**9**9", "S('x')", "lambda: 1", "x.__class__"]),
        ("n_queens", ["[['Q']]", "Q", "_", "Q _\n_ Q"]),
    ],
)
def test_evaluated_answers_are_read_only_in_their_form(task: str, wrong: list[str]) -> None:
    problem = problem_source(f"gym/{task}").draw(5, 0, 1)[0]
    assert VERIFIERS["gym"](problem, problem.answer) == 1.0
    for answer in wrong:
        assert VERIFIERS["gym"](problem, answer) == 0.0, answer


def test_options_reach_the_task() -> None:
    source = problem_source("gym/chain_sum?min_terms=2&max_terms=2&min_digits=1&max_digits=1")
    assert all(problem.question.count(" ") <= 12 for problem in source.draw(1, 0, 5))
    assert all(abs(int(problem.answer)) <= 18 for problem in source.draw(1, 0, 20))
