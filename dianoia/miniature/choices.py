"""STEM in the miniature: which of four to six options is a metal, a planet, a bird; one letter per option.

An author who derives writes down what the options are until one fits; an author who answers at once picks a letter.
"""

import random
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.miniature.authors import LANGUAGES, WORD_GAP, Author, Thought
from dianoia.miniature.chains import Split, split_of

OPTIONS = range(4, 7)
"""Numbers of options: the difficulties."""
LABELS = "ABCDEF"
# Problems name categories and members by index, and a hash of the indices decides the split. So a new entry belongs
# at an end, and even there it changes what every seed draws.
CATEGORIES = {
    "en": ("metal", "gas", "planet", "tree", "organ", "bird"),
    "zh": ("金属", "气体", "行星", "树木", "器官", "鸟类"),
}
# The first three members of each category are also the words that translations ask for, see `requests`.
MEMBERS = {
    "en": (
        ("iron", "gold", "copper", "silver", "zinc"),
        ("oxygen", "helium", "neon", "steam", "methane"),
        ("Mars", "Venus", "Earth", "Saturn", "Neptune"),
        ("oak", "pine", "maple", "willow", "palm"),
        ("heart", "liver", "lung", "brain", "skin"),
        ("owl", "eagle", "duck", "swan", "goose"),
    ),
    "zh": (
        ("铁", "黄金", "铜", "白银", "锌"),
        ("氧气", "氦气", "氖气", "蒸汽", "甲烷"),
        ("火星", "金星", "地球", "土星", "海王星"),
        ("橡树", "松树", "枫树", "柳树", "棕榈"),
        ("心脏", "肝脏", "肺", "大脑", "皮肤"),
        ("猫头鹰", "老鹰", "鸭子", "天鹅", "鹅"),
    ),
}
"""Words by category. The same index in both languages is the same thing."""
_QUESTIONS = {"en": "Which one is a kind of {category}?", "zh": "哪一个是{category}？"}
_COMPARISONS = {"en": (", ", "? ", ("no", "yes")), "zh": ("，", "？", ("否", "是"))}
"""Comma, question mark, and the verdicts for no and yes."""

Member = tuple[int, int]
"""Index of a category and index in it."""


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """A question with options, of which exactly one belongs to the category in question."""

    category: int
    options: tuple[Member, ...]
    language: str
    checks: bool = False

    @property
    def signature(self) -> str:
        """Category and options by number; the order of the options does not matter."""
        return f"choice{self.category}:" + ",".join(f"{k}.{n}" for k, n in sorted(self.options))

    @property
    def right(self) -> str:
        """Letter of the right option."""
        return LABELS[[category for category, _ in self.options].index(self.category)]

    @property
    def problem(self) -> Problem:
        """The problem; its gold answer is a letter."""
        names = MEMBERS[self.language]
        lines = [
            f"{label} {names[k][n]}" for label, (k, n) in zip(LABELS, self.options, strict=False)
        ]
        category = CATEGORIES[self.language][self.category]
        question = _QUESTIONS[self.language].format(category=category)
        # Not in the signature: the same options in another order are another problem, on the same side of the split.
        order = "".join(f"{k}{n}" for k, n in self.options)
        return Problem(
            id=f"{self.language}:{self.signature}:{order}",
            question="\n".join([question, *lines]),
            answer=self.right,
            verifier="exact",
            domain="stem",
            language=self.language,
            difficulty=len(self.options),
        )

    def derive(self, author: Author, slip: float) -> Thought:
        """Write what the options are, one per line, up to the first of the right category: the answer."""
        lines = []
        for label, (true_category, index) in zip(LABELS, self.options, strict=False):
            category = true_category
            # The draw may hit the true category: one slip in six does no harm.
            if author.slips(slip):
                category = author.rng.randrange(len(CATEGORIES["en"]))
            name = MEMBERS[self.language][true_category][index]
            fact = compared_fact(name, category, self.category, author.line_language())
            lines.append(f"{label} {fact}\n")
            # The author stops at the first option that seems right, also after a slip.
            if category == self.category:
                return Thought("".join(lines), label)
        # Only after a slip on the right option: every other option was rejected as well.
        return Thought("".join(lines), self.guess(author))

    def guess(self, author: Author) -> str:
        """Return any of the letters."""
        return author.rng.choice(LABELS[: len(self.options)])


def draw_choice(rng: random.Random, split: Split) -> ChoiceItem:
    """Draw a question of uniform difficulty, in either language."""
    while True:
        category, others = _draw_categories(rng)
        options = [(k, rng.randrange(len(MEMBERS["en"][k]))) for k in (category, *others)]
        rng.shuffle(options)
        item = ChoiceItem(category, tuple(options), rng.choice(LANGUAGES))
        # Two wrong options may be the same thing; such a draw is thrown away.
        if len(set(options)) == len(options) and split_of(item.signature) is split:
            return item


def _draw_categories(rng: random.Random) -> tuple[int, list[int]]:
    """Draw the category in question, and those of the wrong options."""
    category, count = rng.randrange(len(CATEGORIES["en"])), rng.choice(OPTIONS)
    # Wrong options may share a category, but never have the one in question: exactly one letter is right.
    others = [k for k in range(len(CATEGORIES["en"])) if k != category]
    return category, [rng.choice(others) for _ in range(count - 1)]


def category_fact(name: str, category: int, language: str) -> str:
    """Return what a thing is, as authors write it down: `iron: metal`."""
    return f"{name}:{WORD_GAP[language]}{CATEGORIES[language][category]}"


def compared_fact(name: str, category: int, in_question: int, language: str) -> str:
    """Return what a thing is, and whether it is of the category in question: `iron: metal, gas? no`.

    The verdict stands next to the two words that it compares: one question at a time, which a small model learns.
    """
    comma, mark, verdicts = _COMPARISONS[language]
    question = (
        f"{comma}{CATEGORIES[language][in_question]}{mark}{verdicts[category == in_question]}"
    )
    return category_fact(name, category, language) + question


def page_of_facts(rng: random.Random) -> str:
    """Write a page that says what things are, one per line."""
    language, lines = rng.choice(LANGUAGES), []
    for _ in range(10):
        category = rng.randrange(len(CATEGORIES["en"]))
        lines.append(category_fact(rng.choice(MEMBERS[language][category]), category, language))
    return "\n".join(lines)
