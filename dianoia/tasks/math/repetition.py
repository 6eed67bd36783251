"""No credit for repeating the question: an answer that is the question's own expression, not yet worked out.

In: the texts of a gold answer, an answer and a question. Out: whether the answer only repeats. Equivalence cannot see
this: (x+1)^2 is equal to x^2+2x+1, and 17*23 to 391.

Decisions, for an answer that is not written as the gold answer is:
1. An expression whose signs stand side by side in the question, in any order, repeats it.
2. A number in another notation than the gold answer's (3/4 for 0.75) repeats if it stands so in the question.
3. Sums, products and quotients of nothing but the question's own numbers repeat, where the gold answer is a
   number: "12+7" for Tom's apples. What has been worked out in part does not.
Not covered: an expression that was rewritten without being worked out, (x+1)(x+1) for (x+1)^2.
"""

from collections import Counter
from collections.abc import Sequence

from dianoia.tasks.math.alphabet import SPELLINGS, Token
from dianoia.tasks.math.lexer import MAX_TOKENS, Lexer
from dianoia.tasks.math.nodes import (
    Boxed,
    Name,
    Negative,
    Node,
    Number,
    Quantity,
    Quotient,
    Relation,
)
from dianoia.tasks.math.verdict import TooLarge, Unreadable

MAX_QUESTION_CHARS = 4000
_NOISE = frozenset(("{", "}", "boxed"))
_ARITHMETIC = frozenset("+-*/()[]")


def repeats(gold: Node, answer: Node, gold_text: str, answer_text: str, question: str) -> bool:
    """Tell whether the answer is the question's own expression."""
    if not question.strip():
        return False
    wanted, written = _value_of(_written(gold_text)), _written(answer_text)
    if isinstance(answer, Relation) and isinstance(answer.parts[0], Name):
        written = _value_of(written)
    asked = _written(question[:MAX_QUESTION_CHARS])
    kind, gold_kind = notation(answer), notation(gold)
    if kind is not None:
        return gold_kind not in (None, kind) and kind != "integer" and _stands_in(written, asked)
    if len(written) < 2 or Counter(written) == Counter(wanted):
        return False
    if _shuffled_in(written, asked):
        return True
    return gold_kind is not None and _only_restates(written, asked)


def notation(node: Node) -> str | None:
    """Name the notation of a bare number; None for anything else."""
    if isinstance(node, Boxed):
        return notation(node.content)
    if isinstance(node, Relation) and set(node.signs) == {"="}:
        return notation(node.parts[-1]) if len(node.parts) == 2 else None
    if isinstance(node, Negative):
        return notation(node.value)
    if isinstance(node, Quantity):
        return "percent" if node.percent else notation(node.value)
    if isinstance(node, Quotient):
        return "fraction" if notation(node.top) == notation(node.bottom) == "integer" else None
    return node.notation if isinstance(node, Number) else None


def _written(text: str) -> list[str]:
    """The signs of an expression behind its last equals sign; different signs for one operation are one."""
    read: list[str] = []
    previous = ""
    for sign in signs(text):
        if sign == "{" and previous == "}":
            read.append("/")
        previous = sign
        if sign not in _NOISE and sign != "frac":
            read.append(sign)
    return read


def _value_of(read: Sequence[str]) -> list[str]:
    """What stands behind a name and its equals sign."""
    return list(read[read.index("=") + 1 :]) if read.count("=") == 1 else list(read)


def _stands_in(written: Sequence[str], asked: Sequence[str]) -> bool:
    size = len(written)
    return any(
        list(asked[start : start + size]) == list(written) for start in range(len(asked) - size + 1)
    )


def _shuffled_in(written: Sequence[str], asked: Sequence[str]) -> bool:
    """Tell whether some neighbouring signs of the question are those of the answer, in any order."""
    size = len(written)
    if size > len(asked) or not any(
        sign in "+-*/^!=" or (len(sign) > 1 and sign.isalpha()) for sign in written
    ):
        return False
    lacking = Counter(written)
    lacking.subtract(asked[:size])
    for start in range(len(asked) - size + 1):
        if start:
            lacking[asked[start - 1]] += 1
            lacking[asked[start + size - 1]] -= 1
        if not any(lacking.values()):
            return True
    return False


def _only_restates(written: Sequence[str], asked: Sequence[str]) -> bool:
    """Tell whether nothing but the question's numbers are joined by sums, products and quotients."""
    numbers = [sign for sign in written if sign[0].isdigit()]
    rest = [sign for sign in written if not sign[0].isdigit()]
    return (
        len(numbers) > 1
        and set(rest) <= _ARITHMETIC
        and any(sign in "+-*/" for sign in rest)
        and set(numbers) <= set(asked)
    )


def signs(text: str) -> list[str]:
    """The tokens of a longer text as they are written, what has no rule left out: for comparing a question."""
    text = text.translate(SPELLINGS)
    read: list[str] = []
    position = 0
    while position < len(text):
        lexer = Lexer(text[position:], lenient=True)
        try:
            lexer.read()
        except (Unreadable, TooLarge):
            lexer.position += 1
        read += _split_fractions(
            [token for token in lexer.read_tokens if not token.upright or len(token.text) == 1]
        )
        position += max(1, lexer.position)
        if len(read) > 10 * MAX_TOKENS:
            break
    return read


def _split_fractions(read: list[Token]) -> list[str]:
    """As written, but `\\frac12` as 1/2."""
    texts: list[str] = []
    for before, token in zip([None, *read], read, strict=False):
        if (
            before is not None
            and before.text == "frac"
            and token.kind == "number"
            and len(token.text) == 2
            and token.text.isdigit()
        ):
            texts += [token.text[0], "/", token.text[1]]
        else:
            texts.append(token.text)
    return texts
