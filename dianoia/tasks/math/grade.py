"""Grades one answer to a problem of mathematics; runs in a worker process (`dianoia.sandbox.workers`).

In: (gold answer, answer, question). Out: the judgement as text. The gold answer and the answer take one path: found in
their text (`extract`), tokenised (`lexer`), read by a grammar that refuses what it cannot read (`grammar`, `answers`),
compared part by part (`compare`).

Decisions:
1. The gold answer is read first and alone, and has to equal itself. If it cannot, that is the verdict, whatever the
   answer, the gold answer's own text included.
2. Nothing of an answer is overlooked: each of its signs is read, or taken away by a rule with a name, or the answer is
   unreadable, for a reason that the judgement gives.
3. An answer with two readings ("5 m", "200,100", "AB") is right if one reading equals one of the gold answer.
"""

from functools import lru_cache

from dianoia.tasks.math.answers import Reading, readings
from dianoia.tasks.math.compare import Comparison
from dianoia.tasks.math.extract import bare_answer, said_equal
from dianoia.tasks.math.nodes import Bracketed, Listing, SetOf, Words
from dianoia.tasks.math.repetition import repeats
from dianoia.tasks.math.verdict import Judgement, TooLarge, Unreadable, Verdict


def grade(request: tuple[str, str, str]) -> str:
    """The judgement on (gold answer, answer, question): a verdict, and why an answer is unreadable."""
    gold_text, answer_text, question = request
    return str(_judge(gold_text, answer_text, question))


def warm() -> None:
    """Grade once with every part of the grader, so that workers find it loaded."""
    for gold, answer in (
        (r"\frac{1}{2}", "0.5"),
        (r"\sqrt{2}", "1.41421356"),
        ("x^2+2x+1", "(x+1)^2"),
        (r"(1,2]\cup[3,\infty)", r"[3,\infty)\cup(1,2]"),
        ("y=2x+1", "2x-y+1=0"),
    ):
        grade((gold, answer, "How many?"))


def _judge(gold_text: str, answer_text: str, question: str) -> Judgement:
    gold = _gold(gold_text)
    if gold is None:
        return Judgement(Verdict.GOLD_UNREADABLE)
    try:
        bare = bare_answer(answer_text)
        answer = readings(bare)
        equal = _equal_readings(Comparison(question), gold, answer)
    except Unreadable as error:
        return Judgement(Verdict.UNREADABLE, error.reason)
    except (TooLarge, RecursionError):
        return Judgement(Verdict.TOO_LARGE)
    if equal is None or not _follows(answer_text, answer):
        return Judgement(Verdict.WRONG)
    gold_reading, reading = equal
    if repeats(gold_reading.node, reading.node, bare_answer(gold_text), bare, question):
        return Judgement(Verdict.REPEATED)
    return Judgement(Verdict.RIGHT)


def _follows(answer_text: str, answer: tuple[Reading, ...]) -> bool:
    """Tell whether the sum that an answer's box ends is true; where there is none, or none that can be read, it does."""
    before = said_equal(answer_text)
    if before is None:
        return True
    try:
        return _equal_readings(Comparison(""), answer[:1], readings(before)[:1]) is not None
    except (Unreadable, TooLarge, RecursionError):
        return True


@lru_cache(maxsize=512)
def _gold(text: str) -> tuple[Reading, ...] | None:
    """The readings of a gold answer; None where it cannot be read, or does not equal itself."""
    try:
        gold = readings(bare_answer(text))
        itself = _equal_readings(Comparison(""), gold[:1], gold[:1])
    except (Unreadable, TooLarge, RecursionError):
        return None
    return gold if itself is not None else None


def _equal_readings(
    comparison: Comparison, gold: tuple[Reading, ...], answer: tuple[Reading, ...]
) -> tuple[Reading, Reading] | None:
    """The first pair of readings that say the same; None where none do.

    Raises:
        Unreadable: no pair does, and the ordinary reading of the answer has a word that nobody asked for.
        TooLarge: no pair does, and one would take too long.
    """
    refusal: Unreadable | TooLarge | None = None
    for wanted in gold:
        for reading in answer:
            if (
                not (_allowed(reading, gold[0]) and _allowed(wanted, answer[0]))
                or wanted.rule == "commas separate"
            ):
                continue
            try:
                if comparison.same(wanted.node, reading.node):
                    return wanted, reading
            except (Unreadable, TooLarge) as error:
                refusal = refusal or error
    if refusal is not None:
        raise refusal
    return None


def _allowed(reading: Reading, other: Reading) -> bool:
    """Tell whether a reading out of the ordinary may be taken beside the other side's ordinary one."""
    if reading.rule == "commas separate":
        return isinstance(other.node, Listing | Bracketed | SetOf)
    if reading.rule == "spelled":
        return isinstance(other.node, Words)
    return True
