"""Grade one answer to a problem of mathematics; runs in a worker process (`dianoia.sandbox.workers`).

In: (gold answer, answer, question). Out: the judgement as text. The gold answer and the answer take one path: extracted
from their text (`extract`), tokenised (`lexer`), parsed by a grammar that refuses what it cannot read (`terms`, `grammar`,
`quantities`, `answer_parser`), compared part by part (`compare`).

Decisions:
1. The gold answer is read first and alone, and has to equal itself. If it cannot be read, that is the verdict, whatever the
   answer is, even the text of the gold answer itself.
2. Nothing of an answer is overlooked: each character is read, or dropped by a rule with a name, or the answer is
   unreadable, for a reason that the judgement gives.
3. An answer with two readings ("5 m", "200,100", "AB") is right if one reading equals one of the gold answer.
"""

from functools import lru_cache

from dianoia.tasks.math.answer_parser import Reading, readings
from dianoia.tasks.math.compare import Comparison
from dianoia.tasks.math.extract import bare_answer, left_of_box
from dianoia.tasks.math.nodes import Bracketed, Listing, SetOf, Words
from dianoia.tasks.math.repetition import repeats
from dianoia.tasks.math.verdict import Judgement, TooLarge, Unreadable, Verdict


def grade(request: tuple[str, str, str]) -> str:
    """Return the judgement on (gold answer, answer, question) as text: a verdict, and why an answer is unreadable."""
    gold_text, answer_text, question = request
    return str(_judge(gold_text, answer_text, question))


def warm() -> None:
    """Grade once with every part of the grader, so that forked workers find it loaded."""
    for gold, answer in (
        (r"\frac{1}{2}", "0.5"),
        (r"\sqrt{2}", "1.41421356"),
        ("x^2+2x+1", "(x+1)^2"),
        (r"(1,2]\cup[3,\infty)", r"[3,\infty)\cup(1,2]"),
        ("y=2x+1", "2x-y+1=0"),
    ):
        grade((gold, answer, "How many?"))


def _judge(gold_text: str, answer_text: str, question: str) -> Judgement:
    # The gold answer first: whether it can be read must not depend on the answer (decision 1).
    gold = _gold_readings(gold_text)
    if gold is None:
        return Judgement(Verdict.GOLD_UNREADABLE)
    try:
        bare = bare_answer(answer_text)
        answer = readings(bare)
        equal = _equal_readings(Comparison(question), gold, answer)
    except Unreadable as error:
        return Judgement(Verdict.UNREADABLE, error.reason)
    # Deep nesting exhausts the stack before MAX_DEPTH in some productions.
    except (TooLarge, RecursionError):
        return Judgement(Verdict.TOO_LARGE)
    if equal is None or not _is_consistent(answer_text, answer):
        return Judgement(Verdict.WRONG)
    gold_reading, reading = equal
    # Last, since only an equal answer can be a mere repetition.
    if repeats(gold_reading.node, reading.node, bare_answer(gold_text), bare, question):
        return Judgement(Verdict.REPEATED)
    return Judgement(Verdict.RIGHT)


def _is_consistent(answer_text: str, answer: tuple[Reading, ...]) -> bool:
    r"""Return False if the formula that ends in the answer's box is false, as in `2+2 = \boxed{5}`.

    Without such a formula, or if it cannot be read, nothing contradicts the answer.
    """
    expression = left_of_box(answer_text)
    if expression is None:
        return True
    try:
        return _equal_readings(Comparison(""), answer[:1], readings(expression)[:1]) is not None
    except (Unreadable, TooLarge, RecursionError):
        return True


@lru_cache(maxsize=512)
def _gold_readings(text: str) -> tuple[Reading, ...] | None:
    """Return the readings of a gold answer; None if it cannot be read or does not equal itself, as 5/0 does not."""
    try:
        gold = readings(bare_answer(text))
        itself = _equal_readings(Comparison(""), gold[:1], gold[:1])
    except (Unreadable, TooLarge, RecursionError):
        return None
    return gold if itself is not None else None


def _equal_readings(
    comparison: Comparison, gold: tuple[Reading, ...], answer: tuple[Reading, ...]
) -> tuple[Reading, Reading] | None:
    """Return the first pair of readings that are equivalent, gold answer first; None if no pair is.

    Raises:
        Unreadable: no pair is, and the ordinary reading of the answer has a word that the question does not ask for.
        TooLarge: no pair is, and one would take too long.
    """
    refusal: Unreadable | TooLarge | None = None
    for gold_reading in gold:
        for reading in answer:
            # The gold answer's own commas are always taken as they are usually meant: 1,234 is a number there.
            if (
                not (_is_allowed(reading, gold[0]) and _is_allowed(gold_reading, answer[0]))
                or gold_reading.rule == "commas separate"
            ):
                continue
            try:
                if comparison.same(gold_reading.node, reading.node):
                    return gold_reading, reading
            except (Unreadable, TooLarge) as error:
                # A later pair may still be equal; if none is, the first refusal is the verdict.
                refusal = refusal or error
    if refusal is not None:
        raise refusal
    return None


def _is_allowed(reading: Reading, opposite: Reading) -> bool:
    """Tell whether a reading may be used, given the ordinary reading of the opposite side.

    `200,100` is a list only opposite a list, and `AB` a word only opposite words.
    """
    if reading.rule == "commas separate":
        return isinstance(opposite.node, Listing | Bracketed | SetOf)
    if reading.rule == "spelled":
        return isinstance(opposite.node, Words)
    return True
