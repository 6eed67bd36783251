"""Logic in the miniature: which way a person faces after some turns."""

import random
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.miniature.authors import LANGUAGES, WORD_GAP, Author, Thought
from dianoia.miniature.chains import Split, split_of
from dianoia.miniature.programs import LETTERS

# No more than there are LETTERS: each turn has a label of its own.
TURN_COUNTS = range(3, 8)
"""Numbers of turns: the difficulties."""
DIRECTIONS = {"en": ("north", "east", "south", "west"), "zh": ("北方", "东方", "南方", "西方")}
"""Clockwise, so that a turn adds to the index."""
TURN_WORDS = {"en": ("right", "back", "left"), "zh": ("右转", "后转", "左转")}
"""Turns by one, two and three quarters, clockwise."""
_QUESTIONS = {
    "en": "{name} faces {way}. Turns: {turns}. Which way now?",
    "zh": "{name}面向{way}。转向：{turns}。现在面向哪里？",
}
_NAMES = {"en": ("Tom", "Anna", "Sam", "Lily"), "zh": ("小明", "小红", "小刚", "小丽")}


@dataclass(frozen=True, slots=True)
class TurnItem:
    """A person who faces a direction and turns."""

    start: int
    """Index into `DIRECTIONS`."""
    quarters: tuple[int, ...]
    """Quarters per turn: 1 right, 2 back, 3 left."""
    language: str
    name: str
    checks: bool = True

    @property
    def signature(self) -> str:
        """Start and turns in digits."""
        return f"turn{self.start}:" + "".join(map(str, self.quarters))

    @property
    def problem(self) -> Problem:
        """The problem; its gold answer is a word in the question's language."""
        gap, comma = (" ", ", ") if self.language == "en" else ("", "，")
        turns = (
            f"{letter}{gap}{TURN_WORDS[self.language][quarter - 1]}"
            for letter, quarter in zip(LETTERS, self.quarters, strict=False)
        )
        directions = DIRECTIONS[self.language]
        return Problem(
            id=f"{self.language}:{self.signature}",
            question=_QUESTIONS[self.language].format(
                name=self.name, way=directions[self.start], turns=comma.join(turns)
            ),
            # Four quarters are a whole circle.
            answer=directions[(self.start + sum(self.quarters)) % 4],
            verifier="exact",
            domain="logic",
            language=self.language,
            difficulty=len(self.quarters),
        )

    def derive(self, author: Author, slip: float) -> Thought:
        """Write one line per turn, `a left=west`."""
        direction = self.start
        lines = [f"{DIRECTIONS[author.line_language()][direction]}\n"]
        for letter, quarter in zip(LETTERS, self.quarters, strict=False):
            # Later turns build on a wrong direction.
            direction = (direction + quarter) % 4
            if author.slips(slip):
                # Off by 1 to 3 quarters: never right by luck.
                direction = (direction + author.rng.randint(1, 3)) % 4
            # Per line: an author who mixes writes each line in a language of its own, drawn after the slip.
            language = author.line_language()
            turn, faced = TURN_WORDS[language][quarter - 1], DIRECTIONS[language][direction]
            lines.append(f"{letter}{WORD_GAP[language]}{turn}={faced}\n")
        return Thought("".join(lines), DIRECTIONS[self.language][direction])

    def guess(self, author: Author) -> str:
        """Return any of the four directions."""
        return author.rng.choice(DIRECTIONS[self.language])


def draw_turns(rng: random.Random, split: Split) -> TurnItem:
    """Draw a puzzle of uniform difficulty, in either language."""
    while True:
        quarters = tuple(rng.randint(1, 3) for _ in range(rng.choice(TURN_COUNTS)))
        language = rng.choice(LANGUAGES)
        item = TurnItem(rng.randrange(4), quarters, language, rng.choice(_NAMES[language]))
        if split_of(item.signature) is split:
            return item
