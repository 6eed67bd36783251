"""Sets of numbers by their members, and the bounds on what is slow to read."""

import pytest
import sympy
from sympy import FiniteSet, Interval, Union, oo

from dianoia.base.records import Problem
from dianoia.tasks.math import Verdict, judged
from dianoia.tasks.math.bounds import Refusal, refused
from dianoia.tasks.math.intervals import same_members

X = sympy.Symbol("x")


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (Interval(1, 2), Interval(1, 2), True),
        (Interval(1, 2), Interval.open(1, 2), False),
        (Interval(1, 2), Union(Interval(1, 2, False, True), FiniteSet(2), evaluate=False), True),
        (Interval(1, 5), Union(Interval(1, 3), Interval(2, 5), evaluate=False), True),
        (Interval(1, 5), Union(Interval(1, 2), Interval(3, 5)), False),
        (Interval(-oo, oo), Union(Interval.open(-oo, 0), Interval.open(0, oo)), False),
        (Interval(-oo, 1), Interval(-oo, 2), False),
        (Interval(3, oo), Interval(3, 10**9), False),
        (FiniteSet(1, 2), FiniteSet(2, 1), True),
        (FiniteSet(1, 2), FiniteSet(1, 2, 3), False),
        (FiniteSet(sympy.sqrt(2)), FiniteSet(1 / sympy.sqrt(2) * 2), True),
        (FiniteSet(sympy.cos(sympy.pi / 7)), FiniteSet(sympy.cos(sympy.pi / 9)), False),
        (sympy.S.EmptySet, FiniteSet(0), None),
        (FiniteSet(X), FiniteSet(1), None),
        (FiniteSet(sympy.Float("1.414214")), FiniteSet(sympy.sqrt(2)), None),
        (sympy.S.Reals, Interval(-oo, oo), True),
    ],
)
def test_sets_are_the_same_if_their_members_are(
    left: sympy.Set, right: sympy.Set, same: bool | None
) -> None:
    assert same_members(left, right) is same
    assert same_members(right, left) is same


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (r"\sin(\cos(\tan(x)+1)+2)", None),
        (r"\sin(\cos(\tan(\ln(x))+1)+2)", Refusal.TOO_LARGE),
        (r"\sin\cos\tan\ln x", Refusal.TOO_LARGE),
        (r"\sin x\cos x\cos 2x\cos 4x\cos 8x", None),
        (r"\sin(x)+\cos(y)+\tan(z)+\ln(w)", None),
        (r"\begin{vmatrix}1&2&x\\3&4&5\\6&7&8\end{vmatrix}", None),
        (r"\begin{vmatrix}1&2&x&y\\3&4&5&6\\6&7&8&9\\1&2&3&4\end{vmatrix}", Refusal.TOO_LARGE),
        (r"\begin{pmatrix}1&2&x&y\\3&4&5&6\\6&7&8&9\\1&2&3&4\end{pmatrix}", None),
    ],
)
def test_what_is_slow_to_read_is_refused_by_its_looks(text: str, refusal: Refusal | None) -> None:
    assert refused(text) is refusal


def test_an_answer_that_is_much_longer_than_the_gold_answer_is_not_computed() -> None:
    problem = Problem("p", "?", r"x\sqrt{2}", "math")
    added = r"+\frac{0}{1111}"  # 14 more characters, of 120 + 6 * 9
    long, longer = (r"x\sqrt{2}" + added * count for count in (11, 12))
    assert judged([(problem, long), (problem, longer)]) == [Verdict.RIGHT, Verdict.TOO_LARGE]


def test_a_list_that_is_much_too_long_is_not_read() -> None:
    many = ", ".join(rf"\sqrt{{{n}}}" for n in range(2, 40))
    problem = Problem("p", "?", r"\sqrt{2}, \sqrt{3}", "math")
    assert judged([(problem, many)]) == [Verdict.TOO_LARGE]
