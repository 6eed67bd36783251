"""`dianoia.grade`, as a user calls it."""

import subprocess
import sys

import pytest

import dianoia
from dianoia.base.errors import ConfigError


@pytest.mark.parametrize(
    ("verifier", "gold", "answer", "verdict"),
    [
        ("math", r"\frac12", "0.5", "right"),
        ("math", "5", "6", "wrong"),
        ("math", "5", r"5\text{ or so}", "wrong"),
        ("math", "5", "5 roughly", "unreadable: text after the number"),
        ("math", "see above", "5", "gold_unreadable"),
        ("number", "0.5", "1/2", "right"),
        ("number", "0.5", "2", "wrong"),
        ("number", "half", "2", "gold_unreadable"),
        ("exact", "Paris", "paris", "right"),
    ],
)
def test_a_grade(verifier: str, gold: str, answer: str, verdict: str) -> None:
    judgement = dianoia.grade(verifier, gold=gold, answer=answer)
    assert str(judgement) == verdict
    assert judgement.right is (verdict == "right")
    assert judgement.score == {"right": 1.0, "gold_unreadable": None}.get(verdict, 0.0)


def test_a_question_is_held_against_the_answer() -> None:
    assert dianoia.grade("math", gold="7", answer="7 apples", question="How many apples?").right
    assert not dianoia.grade("math", gold="7", answer="7 pears", question="How many apples?").right


def test_an_unknown_verifier_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'maths'.*'math'"):
        dianoia.grade("maths", gold="5", answer="5")


def test_the_import_is_light() -> None:
    code = "import sys, dianoia; assert not [n for n in sys.modules if n.startswith(('dianoia.', 'torch', 'pydantic'))]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
