"""Find training problems that share words with tests, so that they are left out.

In: the questions and reference solutions of tests, then a training question. Out: an `Overlap` or None.

The rule of DeepSeek-R1 (arXiv 2501.12948v2, D.1): a text that shares a 10-gram with a test question or a reference
solution is dropped. The paper does not say what a gram is made of, nor what holds for shorter tests. Decisions:
1. A gram is ten words in a row. A word is a run of letters and digits, case folded; a Chinese or Japanese character and a
   Korean syllable are one word each. Punctuation and operators are no words, so that other spacing or LaTeX changes
   nothing.
2. A test question of 5 to 9 words is one gram: a text that contains it whole, word by word, is dropped.
3. For a shorter one, such as `2+3?`, only the same training question is dropped, operators included, case and spacing
   aside: a few words are in many questions.
4. Of short texts only questions count; a short solution, such as "We add.", says nothing.
Not here: paraphrases and changed numbers, as in the paper.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from dianoia.base.records import Problem
from dianoia.tasks.problem_files import plain_words

GRAM = 10
"""Number of words in a gram."""
SHORTEST = 5
"""Smallest number of words of a test question that is searched for inside of others."""
EXAMPLES = 3
"""Number of dropped problems that are shown."""
_SOLUTIONS = ("solution", "answer")

# Hiragana, katakana, Chinese characters with their extensions and compatibility forms, Korean syllables.
_SINGLE = "\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7a3\U00020000-\U0003ffff"
# `a_b` is two words: \w has the underscore, which LaTeX and code use as a mark.
_WORD = re.compile(rf"[{_SINGLE}]|(?:(?![{_SINGLE}_])\w)+")


@dataclass(frozen=True, slots=True)
class Test:
    """A problem of a test set."""

    __test__ = False  # pytest must not collect it

    name: str
    """Set and id."""
    question: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """Words that a training question shares with a test."""

    test: Test
    shared: str
    """The shared words."""


@dataclass(slots=True)
class Contamination:
    """Counts of the training problems of a set that were compared with tests and left out."""

    checked: int = 0
    by_set: Counter[str] = field(default_factory=Counter)
    """Problems that were left out, by set of tests."""
    examples: list[tuple[str, str, Overlap]] = field(default_factory=list)
    """(id, question, overlap) of the first few."""

    @property
    def dropped(self) -> int:
        """Number of training problems that were left out."""
        return self.by_set.total()


def words(text: str) -> list[str]:
    """Return the words of a text (decision 1)."""
    # NFKC, so that full-width letters and ligatures are the same words.
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class Tests:
    """All grams of some test sets."""

    __test__ = False

    def __init__(self) -> None:
        self.sets: list[str] = []
        self.count, self.short = 0, 0
        # (set, test) by gram; by number of words and gram for short questions; by text for shorter ones.
        self._grams: dict[str, tuple[str, Test]] = {}
        self._short: dict[int, dict[str, tuple[str, Test]]] = {}
        self._questions: dict[str, tuple[str, Test]] = {}

    def add(self, name: str, problems: Iterable[Problem]) -> None:
        """Add a set of tests."""
        self.sets.append(name)
        for problem in problems:
            self.count += 1
            test = Test(f"{name}, {problem.id}", problem.question)
            self._add_question(name, test)
            # Solutions count with their long grams only (decision 4).
            for column in _SOLUTIONS:
                text = problem.columns.get(column)
                if isinstance(text, str):
                    self._add_grams(self._grams, name, test, words(text), GRAM)

    def _add_question(self, name: str, test: Test) -> None:
        question_words = words(test.question)
        size = len(question_words)
        if size >= GRAM:
            self._add_grams(self._grams, name, test, question_words, GRAM)
            return
        self.short += 1
        if size >= SHORTEST:
            self._add_grams(self._short.setdefault(size, {}), name, test, question_words, size)
        else:
            self._questions.setdefault(plain_words(test.question), (name, test))

    @staticmethod
    def _add_grams(
        grams: dict[str, tuple[str, Test]], name: str, test: Test, text: list[str], size: int
    ) -> None:
        for gram in _grams(text, size):
            grams.setdefault(gram, (name, test))

    def find(self, question: str) -> tuple[str, Overlap] | None:
        """Return the set and the test that a training question shares words with; None for a clean one."""
        question_words = words(question)
        # One pass per size of gram: sizes of short questions are few.
        for size, grams in ((GRAM, self._grams), *self._short.items()):
            for gram in _grams(question_words, size) if grams else ():
                if gram in grams:
                    name, test = grams[gram]
                    return name, Overlap(test, gram)
        if self._questions and len(question_words) < SHORTEST:
            text = plain_words(question)
            if text in self._questions:
                name, test = self._questions[text]
                return name, Overlap(test, text)
        return None


def _grams(text: list[str], size: int) -> Iterable[str]:
    return (" ".join(text[start : start + size]) for start in range(len(text) - size + 1))


def is_contaminated(tests: Tests | None, problem: Problem, counts: Contamination) -> bool:
    """Return True if a training problem shares words with a test; updates the counts."""
    if tests is None:
        return False
    counts.checked += 1
    # Earlier turns may hold a test, too: each of them is read like a question. System turns hold instructions.
    turns = (turn.text for turn in reversed(problem.messages) if turn.role != "system")
    overlap = next(filter(None, map(tests.find, turns)), None)
    if overlap is None:
        return False
    # The first test that overlaps counts; a problem is dropped once.
    counts.by_set[overlap[0]] += 1
    if len(counts.examples) < EXAMPLES:
        counts.examples.append((problem.id, problem.question, overlap[1]))
    return True
