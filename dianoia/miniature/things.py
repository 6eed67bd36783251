"""STEM in the miniature: which of some things is a metal, a planet, a bird. Four to six options, a letter each.

Whoever thinks first writes down what the options are until one fits; whoever answers at once picks a letter.
"""

import random
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.miniature.chains import Split, split_of
from dianoia.miniature.voice import GAP, LANGUAGES, Thought, Voice

OPTIONS = range(4, 7)
"""Numbers of options: the difficulties."""
LABELS = "ABCDEF"
KINDS = {
    "en": ("metal", "gas", "planet", "tree", "organ", "bird"),
    "zh": ("金属", "气体", "行星", "树木", "器官", "鸟类"),
}
THINGS = {
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
"""By kind; the same place in both languages is the same thing."""
_ASKED = {"en": "Which one is a kind of {kind}?", "zh": "哪一个是{kind}？"}
_WEIGHED = {"en": (", ", "? ", ("no", "yes")), "zh": ("，", "？", ("否", "是"))}
"""Comma, question mark, and the verdicts for no and yes."""

Thing = tuple[int, int]
"""Kind and place in it."""


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """A question with options, of which exactly one is of the kind that is asked for."""

    kind: int
    options: tuple[Thing, ...]
    language: str
    checks: bool = False

    @property
    def signature(self) -> str:
        """Kind and options by number, in whatever order."""
        return f"choice{self.kind}:" + ",".join(f"{k}.{n}" for k, n in sorted(self.options))

    @property
    def right(self) -> str:
        """Letter of the right option."""
        return LABELS[[kind for kind, _ in self.options].index(self.kind)]

    @property
    def problem(self) -> Problem:
        """The gold answer is a letter."""
        names = THINGS[self.language]
        lines = [
            f"{label} {names[k][n]}" for label, (k, n) in zip(LABELS, self.options, strict=False)
        ]
        asked = _ASKED[self.language].format(kind=KINDS[self.language][self.kind])
        order = "".join(f"{k}{n}" for k, n in self.options)
        return Problem(
            id=f"{self.language}:{self.signature}:{order}",
            question="\n".join([asked, *lines]),
            answer=self.right,
            verifier="exact",
            domain="stem",
            language=self.language,
            difficulty=len(self.options),
        )

    def derive(self, voice: Voice, slip: float) -> Thought:
        """What the options are, a line each, up to the first of the right kind: the answer."""
        lines = []
        for label, (right, place) in zip(LABELS, self.options, strict=False):
            kind = voice.rng.randrange(len(KINDS["en"])) if voice.slips(slip) else right
            thing = THINGS[self.language][right][place]
            lines.append(f"{label} {weighed(thing, kind, self.kind, voice.tongue())}\n")
            if kind == self.kind:
                return Thought("".join(lines), label)
        return Thought("".join(lines), self.guess(voice))

    def guess(self, voice: Voice) -> str:
        """Any of the letters."""
        return voice.rng.choice(LABELS[: len(self.options)])


def draw_choice(rng: random.Random, split: Split) -> ChoiceItem:
    """A question of uniform difficulty, in either language."""
    while True:
        kind, others = _drawn_kinds(rng)
        options = [(k, rng.randrange(len(THINGS["en"][k]))) for k in (kind, *others)]
        rng.shuffle(options)
        item = ChoiceItem(kind, tuple(options), rng.choice(LANGUAGES))
        if len(set(options)) == len(options) and split_of(item.signature) is split:
            return item


def _drawn_kinds(rng: random.Random) -> tuple[int, list[int]]:
    kind, count = rng.randrange(len(KINDS["en"])), rng.choice(OPTIONS)
    rest = [k for k in range(len(KINDS["en"])) if k != kind]
    return kind, [rng.choice(rest) for _ in range(count - 1)]


def fact(thing: str, kind: int, language: str) -> str:
    """What a thing is, as people write it down: `iron: metal`."""
    return f"{thing}:{GAP[language]}{KINDS[language][kind]}"


def weighed(thing: str, kind: int, asked: int, language: str) -> str:
    """What a thing is, and whether that is what is asked for: `iron: metal, gas? no`.

    The verdict stands beside the two words that it compares: one question at a time, which a small model learns.
    """
    comma, mark, verdicts = _WEIGHED[language]
    question = f"{comma}{KINDS[language][asked]}{mark}{verdicts[kind == asked]}"
    return fact(thing, kind, language) + question


def facts(rng: random.Random) -> str:
    """A page that says what things are."""
    language, lines = rng.choice(LANGUAGES), []
    for _line in range(10):
        kind = rng.randrange(len(KINDS["en"]))
        lines.append(fact(rng.choice(THINGS[language][kind]), kind, language))
    return "\n".join(lines)
