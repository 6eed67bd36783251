"""STEM in the miniature: which of four to six options is a metal, a fruit, a bird; one letter per option.

An author who derives writes down what the options are until one fits; an author who answers at once picks a letter.
"""

import random
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.miniature.authors import LANGUAGES, WORD_GAP, Author, Thought
from dianoia.miniature.chains import Split, split_of

OPTIONS = range(4, 7)
"""Numbers of options."""
LABELS = "ABCDEF"
# Problems name categories and members by index, and a hash of the indices decides the split. So a new entry belongs
# at an end, and even there it changes what every seed draws.
CATEGORIES = {
    "en": ("metal", "gas", "fruit", "tree", "organ", "bird"),
    "zh": ("金属", "气体", "水果", "树木", "器官", "鸟类"),
}
RARITIES = (range(5), range(5, 9), range(9, 13), range(13, 17))
"""Members of a category by rarity, the commonest first: the difficulties from 1 to 4."""
_IN_CORPUS = (24, 6, 2, 1)
"""How often the corpus asks for things of each rarity."""
# The first three members of each category are also the words that translations ask for, see `requests`.
MEMBERS = {
    "en": (
        ("iron", "gold", "copper", "silver", "zinc", "lead", "tin", "nickel", "steel",
         "platinum", "mercury", "uranium", "lithium", "bismuth", "gallium", "osmium", "rhodium"),
        ("oxygen", "helium", "neon", "steam", "methane", "hydrogen", "nitrogen", "argon", "ozone",
         "chlorine", "krypton", "ammonia", "propane", "xenon", "radon", "butane", "ethane"),
        ("apple", "pear", "plum", "grape", "lemon", "mango", "cherry", "peach", "melon",
         "fig", "papaya", "guava", "quince", "durian", "lychee", "pomelo", "kumquat"),
        ("oak", "pine", "maple", "willow", "palm", "birch", "cedar", "elm", "fir",
         "poplar", "spruce", "beech", "larch", "alder", "linden", "cypress", "sequoia"),
        ("heart", "liver", "lung", "brain", "skin", "kidney", "stomach", "spleen", "bladder",
         "pancreas", "thyroid", "tongue", "colon", "thymus", "appendix", "trachea", "larynx"),
        ("owl", "eagle", "duck", "swan", "goose", "crow", "pigeon", "parrot", "sparrow",
         "stork", "heron", "falcon", "penguin", "osprey", "pelican", "puffin", "ibis"),
    ),
    "zh": (
        ("铁", "黄金", "铜", "白银", "锌", "铅", "锡", "镍", "钢",
         "铂金", "水银", "铀", "锂", "铋", "镓", "锇", "铑"),
        ("氧气", "氦气", "氖气", "蒸汽", "甲烷", "氢气", "氮气", "氩气", "臭氧",
         "氯气", "氪气", "氨气", "丙烷", "氙气", "氡气", "丁烷", "乙烷"),
        ("苹果", "梨子", "李子", "葡萄", "柠檬", "芒果", "樱桃", "桃子", "甜瓜",
         "无花果", "木瓜", "番石榴", "榅桲", "榴莲", "荔枝", "柚子", "金橘"),
        ("橡树", "松树", "枫树", "柳树", "棕榈", "桦树", "雪松", "榆树", "冷杉",
         "杨树", "云杉", "山毛榉", "落叶松", "桤木", "椴树", "柏树", "红杉"),
        ("心脏", "肝脏", "肺", "大脑", "皮肤", "肾脏", "胃", "脾脏", "膀胱",
         "胰腺", "甲状腺", "舌头", "结肠", "胸腺", "阑尾", "气管", "喉咙"),
        ("猫头鹰", "老鹰", "鸭子", "天鹅", "鹅", "乌鸦", "鸽子", "鹦鹉", "麻雀",
         "鹳", "苍鹭", "猎鹰", "企鹅", "鱼鹰", "鹈鹕", "海鹦", "朱鹭"),
    ),
}  # fmt: skip
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
    def rarity(self) -> int:
        """How rare the rarest option is, from 1."""
        return 1 + max(_rarity(index) for _, index in self.options)

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
            difficulty=self.rarity,
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


def _rarity(index: int) -> int:
    return next(rarity for rarity, indices in enumerate(RARITIES) if index in indices)


def _draw_members(rng: random.Random, in_corpus: bool) -> range:
    """Draw the members that a question is about: any rarity as often, in the corpus the common ones more often."""
    weights = _IN_CORPUS if in_corpus else (1,) * len(RARITIES)
    return rng.choices(RARITIES, weights)[0]


def draw_choice(rng: random.Random, split: Split, *, in_corpus: bool = False) -> ChoiceItem:
    """Draw a question of uniform difficulty, in either language; the corpus has fewer about rare things."""
    while True:
        category, others = _draw_categories(rng)
        members = _draw_members(rng, in_corpus)
        options = [(k, rng.choice(members)) for k in (category, *others)]
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
        name = MEMBERS[language][category][rng.choice(_draw_members(rng, in_corpus=True))]
        lines.append(category_fact(name, category, language))
    return "\n".join(lines)
