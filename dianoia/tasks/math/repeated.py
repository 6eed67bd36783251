"""No credit for repeating the question: an answer that is the question's own expression, not yet worked out.

In: a gold answer, an answer, a question. Out: whether the answer only repeats. Equivalence cannot see this:
(x+1)^2 is equal to x^2+2x+1, and 17*23 to 391.

Decisions, for an answer that is not written as the gold answer is:
1. An expression whose signs stand side by side in the question, in any order, repeats it.
2. A number in another notation than the gold answer's (3/4 for 0.75) repeats if it stands so in the question.
3. Sums, products and quotients of nothing but the question's own numbers repeat, where the gold answer is a
   number: "12+7" for Tom's apples. What has been worked out in part does not.
Not covered: an expression that was rewritten without being worked out, (x+1)(x+1) for (x+1)^2.
"""

import re
from collections import Counter
from collections.abc import Sequence

from dianoia.tasks.math.exact import quantity
from dianoia.tasks.math.latex import plain

MAX_QUESTION_CHARS = 4000
_TOKEN = re.compile(r"\\[A-Za-z]+|\d+(?:\.\d+)?|[^\W\d_]|\S", re.DOTALL)
_NOISE = frozenset(("{", "}", "$", r"\text", "\\"))
_ARITHMETIC = frozenset("+-*/()[]")


def repeats(gold: str, answer: str, question: str) -> bool:
    """Whether the answer is the question's own expression. Gold and answer are in plain LaTeX."""
    if not question.strip():
        return False
    wanted, given = _signs(gold), _signs(answer)
    asked = _signs(plain(question[:MAX_QUESTION_CHARS]))
    number = quantity(answer)
    if number is not None:
        gold_number = quantity(gold, None)
        other = gold_number is not None and gold_number.kind != number.kind
        return other and number.kind != "integer" and _stands_in(given, asked)
    if len(given) < 2 or Counter(given) == Counter(wanted):
        return False
    if _shuffled_in(given, asked):
        return True
    return quantity(gold, None) is not None and _only_restates(given, asked)


def _signs(text: str) -> list[str]:
    """The signs of an expression; different signs for one operation are one."""
    text = text.replace(r"\cdot", "*").replace(r"\frac", "").replace("}{", "}/{")
    return [token for token in _TOKEN.findall(text) if token not in _NOISE]


def _stands_in(given: Sequence[str], asked: Sequence[str]) -> bool:
    size = len(given)
    return any(
        list(asked[start : start + size]) == list(given) for start in range(len(asked) - size + 1)
    )


def _shuffled_in(given: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether some neighbouring signs of the question are those of the answer, in any order."""
    size = len(given)
    if size > len(asked) or not any(sign in "+-*/^!=" or sign[0] == "\\" for sign in given):
        return False
    lacking = Counter(given)
    lacking.subtract(asked[:size])
    for start in range(len(asked) - size + 1):
        if start:
            lacking[asked[start - 1]] += 1
            lacking[asked[start + size - 1]] -= 1
        if not any(lacking.values()):
            return True
    return False


def _only_restates(given: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether nothing but the question's numbers are joined by sums, products and quotients."""
    numbers = [sign for sign in given if sign[0].isdigit()]
    rest = [sign for sign in given if not sign[0].isdigit()]
    return (
        len(numbers) > 1
        and set(rest) <= _ARITHMETIC
        and any(sign in "+-*/" for sign in rest)
        and set(numbers) <= set(asked)
    )
