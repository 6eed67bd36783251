"""No credit for repeating the question: detect an answer that is the question's own expression, not worked out.

In: the trees and texts of a gold answer and an answer, and the question. Out: whether the answer only repeats. Equivalence
cannot see this: (x+1)^2 is equal to x^2+2x+1, and 17*23 to 391.

Decisions, for an answer that is not written as the gold answer is:
1. An expression repeats the question if its symbols are adjacent there, in any order: 23*17 for "What is 17*23?"
2. A number in another notation than the gold answer's (3/4 for 0.75) repeats the question if it is written so there.
3. Sums, products and quotients of nothing but the question's own numbers repeat it, if the gold answer is a number: "12+7"
   for Tom's apples. An expression that is worked out in part does not.
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
_IGNORED = frozenset(("{", "}", "boxed"))
"""Symbols that group or decorate, and that people add or leave out."""
_ARITHMETIC = frozenset("+-*/()[]")


def repeats(gold: Node, answer: Node, gold_text: str, answer_text: str, question: str) -> bool:
    """Return True if the answer is the question's own expression, not worked out; never without a question."""
    if not question.strip():
        return False
    gold_symbols, answer_symbols = _value_of(_symbols(gold_text)), _symbols(answer_text)
    # x = 2+3 repeats "What is 2+3?" as much as 2+3 does.
    if isinstance(answer, Relation) and isinstance(answer.parts[0], Name):
        answer_symbols = _value_of(answer_symbols)
    question_symbols = _symbols(question[:MAX_QUESTION_CHARS])
    answer_notation, gold_notation = notation(answer), notation(gold)
    if answer_notation is not None:  # decision 2: a bare number
        return (
            gold_notation not in (None, answer_notation)
            and answer_notation != "integer"
            and _contains(question_symbols, answer_symbols)
        )
    # One symbol is no expression. An answer written like the gold answer is right as it is.
    if len(answer_symbols) < 2 or Counter(answer_symbols) == Counter(gold_symbols):
        return False
    if _contains_shuffled(question_symbols, answer_symbols):
        return True
    return gold_notation is not None and _only_restates(answer_symbols, question_symbols)


def notation(node: Node) -> str | None:
    """Return the notation of a bare number ("integer", "decimal", "fraction", "power", "percent"); None for other trees."""
    if isinstance(node, Boxed):
        return notation(node.content)
    if isinstance(node, Relation) and set(node.signs) == {"="}:
        return notation(node.parts[-1]) if len(node.parts) == 2 else None
    if isinstance(node, Negative):
        return notation(node.value)
    if isinstance(node, Quantity):
        return "percent" if node.percent else notation(node.value)
    # 3/4 and \frac34 are numbers in the notation of fractions.
    if isinstance(node, Quotient):
        return "fraction" if notation(node.top) == notation(node.bottom) == "integer" else None
    return node.notation if isinstance(node, Number) else None


def _symbols(text: str) -> list[str]:
    r"""Return the symbols of a text, with one spelling for each operation: `\frac{1}{2}` is 1 / 2 too."""
    symbols: list[str] = []
    previous = ""
    for symbol in token_texts(text):
        if symbol == "{" and previous == "}":  # between the arguments of \frac
            symbols.append("/")
        previous = symbol
        if symbol not in _IGNORED and symbol != "frac":
            symbols.append(symbol)
    return symbols


def _value_of(symbols: Sequence[str]) -> list[str]:
    """Return the symbols after the equals sign, if there is exactly one; else all."""
    return list(symbols[symbols.index("=") + 1 :]) if symbols.count("=") == 1 else list(symbols)


def _contains(symbols: Sequence[str], part: Sequence[str]) -> bool:
    """Return True if `part` occurs in `symbols`, adjacent and in order."""
    size = len(part)
    return any(
        list(symbols[start : start + size]) == list(part)
        for start in range(len(symbols) - size + 1)
    )


def _contains_shuffled(symbols: Sequence[str], part: Sequence[str]) -> bool:
    """Return True if some adjacent symbols are those of `part`, in any order; False if `part` has no operation."""
    size = len(part)
    if size > len(symbols) or not any(
        symbol in "+-*/^!=" or (len(symbol) > 1 and symbol.isalpha()) for symbol in part
    ):
        return False
    # Slide a window over the symbols and keep the surplus of `part` over it: all zero means the same multiset.
    surplus = Counter(part)
    surplus.subtract(symbols[:size])
    for start in range(len(symbols) - size + 1):
        if start:
            surplus[symbols[start - 1]] += 1
            surplus[symbols[start + size - 1]] -= 1
        if not any(surplus.values()):
            return True
    return False


def _only_restates(answer_symbols: Sequence[str], question_symbols: Sequence[str]) -> bool:
    """Return True if an answer only joins the question's numbers by sums, products and quotients (decision 3)."""
    numbers = [symbol for symbol in answer_symbols if symbol[0].isdigit()]
    operations = [symbol for symbol in answer_symbols if not symbol[0].isdigit()]
    return (
        len(numbers) > 1
        and set(operations) <= _ARITHMETIC
        and any(symbol in "+-*/" for symbol in operations)
        and set(numbers) <= set(question_symbols)
    )


def token_texts(text: str) -> list[str]:
    """Return the texts of all tokens in prose, such as a question; characters without a rule are skipped."""
    text = text.translate(SPELLINGS)
    texts: list[str] = []
    position = 0
    while position < len(text):
        # The lexer stops at the first character without a rule: start again after it.
        lexer = Lexer(text[position:], lenient=True)
        try:
            lexer.read()
        except (Unreadable, TooLarge):
            lexer.position += 1
        texts += _split_fractions(
            [token for token in lexer.tokens if not token.upright or len(token.text) == 1]
        )
        position += max(1, lexer.position)
        if len(texts) > 10 * MAX_TOKENS:
            break
    return texts


def _split_fractions(tokens: list[Token]) -> list[str]:
    """Return the texts of tokens as they are written, but `\\frac12` as 1/2."""
    texts: list[str] = []
    for before, token in zip([None, *tokens], tokens, strict=False):
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
