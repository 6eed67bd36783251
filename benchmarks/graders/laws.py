"""State the laws that every grader has to keep, and find the pairs of gold answer and answer that break them.

In: a grader, which takes (gold, answer, question) and says whether the answer is right, gold answers and mutators.
Out: a `Tally` for each mutator, and `Break`s.

The laws:
1. A gold answer is right for itself.
2. What says something else is never right.
3. What says the same is right: in at least 99 of 100 pairs, and never in none.
4. Right is symmetric between gold answers of one form: whichever of two is the gold answer.
5. No answer is right for two gold answers that differ.
6. A verdict is stable: a right answer stays right, and a wrong one wrong, in the wrappings in which models write.
7. No answer makes a grader raise an exception.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.graders.golds import Gold
from benchmarks.graders.mutators import Mutator

Grader = Callable[[str, str, str], bool]
"""(gold answer, answer, question) -> True if the answer is right."""

WRAPPINGS = (r"\boxed{@}", "$@$", r"The answer is $@$.", r"\[@\]", r"$\boxed{@}$")
SHARE_RIGHT = 0.99


@dataclass(frozen=True, slots=True)
class Break:
    """A pair that breaks a law."""

    law: str
    gold: str
    answer: str
    is_right: bool

    def __str__(self) -> str:
        got, want = ("right", "wrong") if self.is_right else ("not right", "right")
        return f"{self.gold!r} || {self.answer!r} -> {got} (want {want}) [{self.law}]"


class Recorded:
    """A grader whose exceptions are kept and count as not right (law 7)."""

    def __init__(self, grader: Grader) -> None:
        self.grader = grader
        self.raised: list[tuple[str, str, str]] = []
        """(gold answer, answer, exception)"""

    def __call__(self, gold: str, answer: str, question: str) -> bool:
        """Grade as the grader does; an exception is kept and is not right."""
        try:
            return self.grader(gold, answer, question)
        except Exception as error:  # noqa: BLE001 - whatever a grader raises is what is looked for
            self.raised.append((gold, answer, f"{type(error).__name__}: {error}"[:200]))
            return False


@dataclass(slots=True)
class Tally:
    """How a grader did on the answers of one mutator."""

    mutator: Mutator
    pairs: int = 0
    right: int = 0
    breaks: list[Break] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Return True if the law holds: none right, or at least 99 of 100."""
        if not self.mutator.same:
            return self.right == 0
        return self.right >= SHARE_RIGHT * self.pairs


def tally(grader: Grader, mutator: Mutator, golds: Iterable[Gold]) -> Tally:
    """Grade what a mutator makes of the gold answers (laws 1 to 3)."""
    result = Tally(mutator)
    for gold in golds:
        answer = mutator.make(gold)
        if answer is None or (not mutator.same and answer == gold.text):
            continue
        is_right = grader(gold.text, answer, gold.question)
        result.pairs += 1
        result.right += is_right
        if is_right != mutator.same:
            result.breaks.append(Break(mutator.name, gold.text, answer, is_right))
    return result


def asymmetric(grader: Grader, golds: Sequence[Gold]) -> Iterator[Break]:
    """Find the forms that are right for a gold answer, while the gold answer is not right for them (law 4).

    Only forms of the same kind count, since a unit or a name may be left out in one direction alone.
    """
    for gold in golds:
        if gold.kind not in SYMMETRIC:
            continue
        for name, form in gold.same.items():
            if name in ONE_WAY:
                continue
            if grader(gold.text, form, gold.question) and not grader(form, gold.text, gold.question):  # fmt: skip
                yield Break(f"symmetry, {name}", form, gold.text, False)


SYMMETRIC = frozenset({
    "decimal", "repeating", "fraction", "mixed", "root", "surd", "circle", "logarithm", "power", "complex", "polynomial", "factored", "rational",
    "trigonometric", "sets", "interval", "union", "inequality", "matrix", "equation",
})  # fmt: skip
"""Kinds whose forms are gold answers as good as the gold answer itself."""
ONE_WAY = frozenset({"polynomial as value of a function", "matrix with a name", "set with a name"})


def confused(grader: Grader, golds: Sequence[Gold], draw: random.Random, partners: int = 3) -> Iterator[Break]:  # fmt: skip
    """Find answers that are right for two gold answers of a kind with different values (law 5)."""
    kinds: dict[str, list[Gold]] = {}
    for gold in golds:
        kinds.setdefault(gold.kind, []).append(gold)
    for alike in kinds.values():
        for gold in alike:
            others = [
                other for other in alike if other.key != gold.key and not _related(gold, other)
            ]
            for other in draw.sample(others, min(partners, len(others))):
                yield from _shared(grader, gold, other)


def _related(gold: Gold, other: Gold) -> bool:
    """Return True if one answer may be right for both: units may be left out, and a percent sign."""
    if gold.kind == "asked" and isinstance(gold.key, tuple) and isinstance(other.key, tuple):
        return bool(gold.key[0] != other.key[0] or gold.key[1] == other.key[1])
    if gold.kind == "unit" and isinstance(gold.key, tuple) and isinstance(other.key, tuple):
        return bool(gold.key[0] == other.key[0])
    if gold.kind == "percent" and isinstance(gold.key, int) and isinstance(other.key, int):
        return max(gold.key, other.key) == 100 * min(gold.key, other.key)
    return gold.kind == "based" and str(gold.key)[:6] == str(other.key)[:6]


def _shared(grader: Grader, gold: Gold, other: Gold) -> Iterator[Break]:
    answers = {
        gold.text: "",
        other.text: "",
        **dict.fromkeys(gold.same.values()),
        **dict.fromkeys(gold.different.values()),
    }
    for answer in answers:
        if grader(gold.text, answer, gold.question) and grader(other.text, answer, other.question):
            yield Break(f"right for {gold.text!r} too", other.text, answer, True)


def unstable(grader: Grader, golds: Iterable[Gold]) -> Iterator[Break]:
    """Find answers whose verdict changes with the wrapping around them (law 6)."""
    for gold in golds:
        if gold.kind in ("unit", "asked"):
            continue  # in a formula the letter of a unit is a name
        for answer in (*gold.same.values(), *gold.different.values()):
            if "$" in answer or "boxed" in answer or "\n" in answer:
                continue
            bare = grader(gold.text, answer, gold.question)
            for wrapping in WRAPPINGS:
                wrapped = wrapping.replace("@", answer)
                if grader(gold.text, wrapped, gold.question) != bare:
                    yield Break(f"stability of {answer!r}", gold.text, wrapped, not bare)
