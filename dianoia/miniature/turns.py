"""Logic in the miniature: which way somebody faces after some turns."""

import random
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.miniature.chains import Split, split_of
from dianoia.miniature.code import LETTERS
from dianoia.miniature.voice import GAP, LANGUAGES, Thought, Voice

TURNS = range(3, 7)
"""Numbers of turns: the difficulties."""
WAYS = {"en": ("north", "east", "south", "west"), "zh": ("北方", "东方", "南方", "西方")}
"""Clockwise, so that a turn adds to the place in the list."""
HOW = {"en": ("right", "back", "left"), "zh": ("右转", "后转", "左转")}
"""Turns by one, two and three quarters, clockwise."""
_ASKED = {
    "en": "{name} faces {way}. Turns: {turns}. Which way now?",
    "zh": "{name}面向{way}。转向：{turns}。现在面向哪里？",
}
_NAMES = {"en": ("Tom", "Anna", "Sam", "Lily"), "zh": ("小明", "小红", "小刚", "小丽")}


@dataclass(frozen=True, slots=True)
class TurnItem:
    """Somebody who faces a way and turns."""

    start: int
    """Index into `WAYS`."""
    quarters: tuple[int, ...]
    """A turn each: 1 right, 2 back, 3 left."""
    language: str
    name: str
    checks: bool = True

    @property
    def signature(self) -> str:
        """Start and turns in digits."""
        return f"turn{self.start}:" + "".join(map(str, self.quarters))

    @property
    def problem(self) -> Problem:
        """The gold answer is a word in the question's language."""
        gap, comma = (" ", ", ") if self.language == "en" else ("", "，")
        turns = (
            f"{letter}{gap}{HOW[self.language][quarter - 1]}"
            for letter, quarter in zip(LETTERS, self.quarters, strict=False)
        )
        return Problem(
            id=f"{self.language}:{self.signature}",
            question=_ASKED[self.language].format(
                name=self.name, way=WAYS[self.language][self.start], turns=comma.join(turns)
            ),
            answer=WAYS[self.language][(self.start + sum(self.quarters)) % 4],
            verifier="exact",
            domain="logic",
            language=self.language,
            difficulty=len(self.quarters),
        )

    def derive(self, voice: Voice, slip: float) -> Thought:
        """A line a turn, `a left=west`."""
        way = self.start
        lines = [f"{WAYS[voice.tongue()][way]}\n"]
        for letter, quarter in zip(LETTERS, self.quarters, strict=False):
            way = (way + quarter) % 4
            if voice.slips(slip):
                way = (way + voice.rng.randint(1, 3)) % 4
            tongue = voice.tongue()
            turn, to = HOW[tongue][quarter - 1], WAYS[tongue][way]
            lines.append(f"{letter}{GAP[tongue]}{turn}={to}\n")
        return Thought("".join(lines), WAYS[self.language][way])

    def guess(self, voice: Voice) -> str:
        """Any of the four ways."""
        return voice.rng.choice(WAYS[self.language])


def draw_turns(rng: random.Random, split: Split) -> TurnItem:
    """A puzzle of uniform difficulty, in either language."""
    while True:
        quarters = tuple(rng.randint(1, 3) for _ in range(rng.choice(TURNS)))
        language = rng.choice(LANGUAGES)
        item = TurnItem(rng.randrange(4), quarters, language, rng.choice(_NAMES[language]))
        if split_of(item.signature) is split:
            return item
