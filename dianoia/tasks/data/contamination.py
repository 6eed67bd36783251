"""Training problems that share words with tests, found and left out.

In: the questions and reference solutions of tests, then a training question. Out: `Overlap` or None.

The rule of DeepSeek-R1 (arXiv 2501.12948v2, D.1): a text that shares a 10-gram with a test question or a reference
solution is dropped. The paper does not say what a gram is made of, nor what holds for shorter tests. Decisions:
1. A gram is ten words in a row. A word is a run of letters and digits, case folded; a Chinese or Japanese
   character and a Korean syllable each are one. Punctuation and operators are no words, so that other
   spacing or LaTeX changes nothing.
2. A test question of 5 to 9 words is one gram: whoever holds it whole, word by word, is dropped.
3. A shorter one, such as `2+3?`, is dropped only where the training question is the same, operators
   included, case and spacing aside: a few words are in many questions.
4. Only a test's question counts where it is short; a short solution, such as "We add.", says nothing.
Left out: paraphrases and changed numbers, as in the paper.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from dianoia.base.records import Problem
from dianoia.tasks.problem_files import plain_words

GRAM = 10
"""Words in a row."""
SHORTEST = 5
"""Words of a test question from which on it is looked for inside of others."""
EXAMPLES = 3
_SOLUTIONS = ("solution", "answer")

_SINGLE = "\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7a3\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_SINGLE}]|(?:(?![{_SINGLE}_])\w)+")


@dataclass(frozen=True, slots=True)
class Test:
    """A problem of a test set."""

    __test__ = False  # not one of pytest's

    place: str
    """Set and id."""
    question: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a training question shares with a test."""

    test: Test
    shared: str
    """The words that both have."""


@dataclass(slots=True)
class Found:
    """What was left out of a set, and why."""

    looked_at: int = 0
    by_set: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str, Overlap]] = field(default_factory=list)
    """(id, question, overlap) of the first few."""

    @property
    def dropped(self) -> int:
        """Training problems that were left out."""
        return self.by_set.total()


def words(text: str) -> list[str]:
    """The words of a text (decision 1)."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class Tests:
    """Every gram of some test sets."""

    __test__ = False

    def __init__(self) -> None:
        self.sets: list[str] = []
        self.count, self.short = 0, 0
        self._grams: dict[str, tuple[str, Test]] = {}
        self._short: dict[int, dict[str, tuple[str, Test]]] = {}
        self._whole: dict[str, tuple[str, Test]] = {}

    def add(self, name: str, problems: Iterable[Problem]) -> None:
        """Take in a set of tests."""
        self.sets.append(name)
        for problem in problems:
            self.count += 1
            test = Test(f"{name}, {problem.id}", problem.question)
            self._question(name, test)
            for column in _SOLUTIONS:
                text = problem.columns.get(column)
                if isinstance(text, str):
                    self._take(self._grams, name, test, words(text), GRAM)

    def _question(self, name: str, test: Test) -> None:
        found = words(test.question)
        if len(found) >= GRAM:
            self._take(self._grams, name, test, found, GRAM)
            return
        self.short += 1
        if len(found) >= SHORTEST:
            self._take(self._short.setdefault(len(found), {}), name, test, found, len(found))
        else:
            self._whole.setdefault(plain_words(test.question), (name, test))

    @staticmethod
    def _take(
        grams: dict[str, tuple[str, Test]], name: str, test: Test, found: list[str], size: int
    ) -> None:
        for gram in _grams(found, size):
            grams.setdefault(gram, (name, test))

    def find(self, question: str) -> tuple[str, Overlap] | None:
        """The set and the test that a training question shares words with; None for a clean one."""
        found = words(question)
        for size, grams in ((GRAM, self._grams), *self._short.items()):
            for gram in _grams(found, size) if grams else ():
                if gram in grams:
                    name, test = grams[gram]
                    return name, Overlap(test, gram)
        if self._whole and len(found) < SHORTEST and (same := plain_words(question)) in self._whole:
            name, test = self._whole[same]
            return name, Overlap(test, same)
        return None


def _grams(found: list[str], size: int) -> Iterable[str]:
    return (" ".join(found[at : at + size]) for at in range(len(found) - size + 1))
