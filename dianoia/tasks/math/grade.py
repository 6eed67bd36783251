"""Grades one answer to a problem of mathematics; runs in a worker process (`dianoia.runtime.service`).

In: (gold answer, answer, question). Out: a verdict and, for people, what decided. First by the text, then by
exact arithmetic, then by math-verify behind bounds: the cheap and certain rules come first, and what a number
decides nothing else may overrule.

Decisions:
1. The gold answer is read first and alone. If it cannot be read, that is the verdict, whatever the answer.
2. A set or list is right if its members are, in any order and each once; a tuple in its order. So a second
   guess is never free.
3. `x = 5` is met by 5, and 5 by `x = 5`; of a chain `3+2 = 5` every part has to be right; another name for a
   named value is wrong. An equation that is no named value is met by an equation only.
"""

from functools import lru_cache

from dianoia.tasks.math import symbolic
from dianoia.tasks.math.bounds import refused
from dianoia.tasks.math.exact import quantity, same_quantity
from dianoia.tasks.math.extract import bare_answer
from dianoia.tasks.math.forms import MAX_ITEMS, Form, Value, based, form, ratio, value
from dianoia.tasks.math.latex import plain, squeezed
from dianoia.tasks.math.repeated import repeats
from dianoia.tasks.math.units import same_unit, split_unit
from dianoia.tasks.math.verdict import Verdict
from dianoia.tasks.math.words import choice, same_words, words

MAX_BARE_CHARS = 2000
SPARE_CHARS, SPARE_TIMES = 120, 6
"""How much longer than the gold answer an answer may be that has to be computed."""
_PERCENT = ("%", "percent", "百分")
warm = symbolic.warm


def grade(request: tuple[str, str, str]) -> str:
    """The verdict on (gold answer, answer, question)."""
    gold_text, answer_text, question = request
    gold = _gold(gold_text)
    if gold is None:
        return Verdict.GOLD_UNREADABLE
    if answer_text == gold_text:
        return Verdict.RIGHT
    answer = _bare(answer_text)
    if answer is None:
        return Verdict.UNREADABLE
    return _Grader(question).verdict(gold, answer)


@lru_cache(maxsize=512)
def _gold(text: str) -> str | None:
    """The bare gold answer in plain LaTeX, if every part of it can be read."""
    bare = _bare(text)
    if bare is None or len(bare) > MAX_BARE_CHARS:
        return None
    return bare if words(bare) or all(map(_readable, form(bare).items)) else None


def _bare(text: str) -> str | None:
    bare = bare_answer(text)
    if bare is None or not bare.isprintable():
        return None
    return _unboxed(plain(bare)) if len(bare) <= MAX_BARE_CHARS else bare


def _unboxed(text: str) -> str:
    """Without a `\\text{}` around the whole that holds a number, and without a sign at the end."""
    inner = text.removeprefix(r"\text{").removesuffix("}")
    if text == rf"\text{{{inner}}}" and quantity(plain(inner), None) is not None:
        text = plain(inner)
    return text.rstrip(",;:").strip()


def _readable(text: str) -> bool:
    """Whether something could ever be found equal to a gold answer."""
    found = value(text)
    last = text if found is None or (found.name is None and len(found.parts) > 1) else found.last
    if quantity(last, None) or based(last) or ratio(last) or words(last):
        return True
    nested = form(last)
    if nested.shape != "one":
        return all(map(_readable, nested.items))
    return refused(_computable(last)) is None and symbolic.read(_computable(last)) is not None


def _computable(text: str) -> str:
    """As math-verify reads it: units in words go, degrees become LaTeX."""
    return split_unit(text)[0].replace("°", r"^{\circ}")


class _Grader:
    """Compares answers to one question."""

    def __init__(self, question: str) -> None:
        self.question = question
        self.asks_percent = any(sign in question.lower() for sign in _PERCENT)
        self.refusal: Verdict | None = None
        """Why some part of the answer was not computed, if it was not."""

    def verdict(self, gold: str, answer: str) -> Verdict:
        """The verdict on a bare answer."""
        if len(answer) > MAX_BARE_CHARS:
            return Verdict.TOO_LARGE
        if squeezed(gold) == squeezed(answer):
            return Verdict.RIGHT
        if (said := words(gold) or (choice(gold) if words(answer) else None)) is not None:
            return Verdict.RIGHT if same_words(said, answer) else Verdict.WRONG
        if not self.same(gold, answer):
            return self.refusal or Verdict.WRONG
        found = value(answer)
        last = found.last if found is not None and found.name else answer
        return Verdict.REPEATED if repeats(gold, last, self.question) else Verdict.RIGHT

    # Forms ---------------------------------------------------------------------------------------

    def same(self, gold: str, answer: str, depth: int = 3) -> bool:
        """Whether the answer equals the gold answer, part by part."""
        left, right = form(gold), form(answer)
        if depth and "one" not in (left.shape, right.shape):
            return self._same_parts(left, right, depth - 1)
        if depth and len(left.items) == 1 == len(right.items) and left.shape != right.shape:
            return self.same(left.items[0], right.items[0], depth - 1)
        if left.shape == right.shape == "one":
            return self._same_one(left.items[0], right.items[0])
        if right.shape == "one" and answer.count(",") >= MAX_ITEMS > gold.count(","):
            self.refusal = Verdict.TOO_LARGE
            return False
        return self._computed(gold, answer)

    def _same_parts(self, left: Form, right: Form, depth: int) -> bool:
        ordered = "tuple" in (left.shape, right.shape)
        if ordered and "set" in (left.shape, right.shape):
            return False
        named = self._by_name(left, right)
        if named is not None:
            return len(named) == len(left.items) and all(self.same(a, b, depth) for a, b in named)
        if ordered:
            return len(left.items) == len(right.items) and all(
                self.same(a, b, depth) for a, b in zip(left.items, right.items, strict=True)
            )
        return self._same_members(left, right, depth)

    def _by_name(self, left: Form, right: Form) -> list[tuple[str, str]] | None:
        """Values of a system that belong together; None unless either side names each value differently."""
        sides = [
            {v.name: v.last for v in map(value, side.items) if v and v.name}
            for side in (left, right)
        ]
        if any(len(side) < len(of.items) for side, of in zip(sides, (left, right), strict=True)):
            return None
        return [(text, sides[1][name]) for name, text in sides[0].items() if name in sides[1]]

    def _same_members(self, left: Form, right: Form, depth: int) -> bool:
        """Each member of one side is one of the other, and none is left over."""
        left_items, right_items = list(dict.fromkeys(left.items)), list(dict.fromkeys(right.items))
        if len(left_items) != len(right_items):
            return False
        for wanted in left_items:
            found = next((one for one in right_items if self.same(wanted, one, depth)), None)
            if found is None:
                return False
            right_items.remove(found)
        return True

    # Values --------------------------------------------------------------------------------------

    def _same_one(self, gold: str, answer: str) -> bool:
        left, right = value(gold), value(answer)
        if left is None or right is None or (left.name is None and len(left.parts) > 1):
            return self._computed(gold, answer)
        if left.name and right.name and left.name != right.name:
            return self._computed(gold, answer)
        if left.name and not right.name and len(right.parts) > 1:
            return self._computed(gold, answer)
        return self._same_value(left, right)

    def _same_value(self, left: Value, right: Value) -> bool:
        return all(self._equal(left.last, part) for part in right.parts)

    def _equal(self, gold: str, answer: str) -> bool:
        left, right = quantity(gold, None), quantity(answer, f"{self.question} {gold}")
        if left and right:
            return same_quantity(left, right, self.asks_percent)
        for reading in (based, ratio):
            wanted, given = reading(gold), reading(answer)
            if wanted is not None or given is not None:
                return _same_digits(wanted, given, answer)
        return self._computed(gold, answer)

    def _computed(self, gold: str, answer: str) -> bool:
        """By math-verify, if the bounds let it."""
        if squeezed(gold) == squeezed(answer):
            return True
        if not same_unit(split_unit(gold)[1], split_unit(answer)[1]):
            return False
        if len(answer) > SPARE_CHARS + SPARE_TIMES * len(gold):
            self.refusal = Verdict.TOO_LARGE
            return False
        left, right = _computable(gold), _computable(answer)
        refusal = refused(right)
        if refusal is not None:
            self.refusal = Verdict(refusal.value)
            return False
        found = symbolic.equal(left, right) if refused(left) is None else False
        if found is None:
            self.refusal = Verdict.UNREADABLE
        return bool(found)


def _same_digits(wanted: object, given: object, answer: str) -> bool:
    """Numbers in a base by their digits, which may stand without the base."""
    if given is None and isinstance(wanted, tuple) and isinstance(wanted[0], str):
        return answer.strip().lstrip("0").upper() == wanted[0]
    return wanted == given
