"""Code in the miniature: functions from a description, and what a program prints.

A description names its steps by letters, `a adds 3, b doubles it`; the function has a line a step and is judged by
running it on tests. Whoever thinks first writes the steps down as operations, `a +3`; whoever answers at once writes
steps that look right. What a program prints is a chain (`chains`), told in code; it belongs to logic.
"""

import json
import random
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.miniature.chains import Chain, Operation, Split, draw_chain, split_of
from dianoia.miniature.stories import guessed, tally
from dianoia.miniature.voice import LANGUAGES, Thought, Voice

LETTERS = "abcdef"
STEPS = range(2, 5)
"""Steps of a function: the difficulties."""
PRINTED_STEPS = range(2, 6)
_INPUTS = (1, 4, 10)
_OPERATIONS = tuple(
    Operation(sign, n)
    for sign, operands in (("+", range(2, 10)), ("-", range(2, 10)), ("*", (2, 3)))
    for n in operands
)
_TOLD = {
    "en": {"+": "adds {n}", "-": "takes {n} off", "*2": "doubles it", "*3": "triples it"},
    "zh": {"+": "加{n}", "-": "减{n}", "*2": "翻倍", "*3": "三倍"},
}
_ASKED = {
    "en": "Write a function f(x): {steps}.",
    "zh": "写函数f(x)：{steps}。",
}
_PRINTS = {"en": "What does this print?", "zh": "这段程序输出什么？"}


def program(operations: tuple[Operation, ...]) -> str:
    """The function in Python, one line."""
    before, lines = "x", []
    for letter, step in zip(LETTERS, operations, strict=False):
        lines.append(f"{letter}={before}{step.sign}{step.operand}; ")
        before = letter
    return f"def f(x): {''.join(lines)}return {before}"


@dataclass(frozen=True, slots=True)
class FunctionItem:
    """A description and the function that it asks for."""

    operations: tuple[Operation, ...]
    language: str
    checks: bool = False

    @property
    def signature(self) -> str:
        """The operations in signs."""
        return "f" + "".join(f"{o.sign}{o.operand}" for o in self.operations)

    @property
    def problem(self) -> Problem:
        """Its gold answer is a list of tests, which the verifier `code` runs; `solution` passes them."""
        return Problem(
            id=f"{self.language}:{self.signature}",
            question=_ASKED[self.language].format(steps=self._steps()),
            answer=json.dumps({"calls": [self._call(x) for x in _INPUTS]}),
            verifier="code",
            domain="code",
            language=self.language,
            difficulty=len(self.operations),
            columns={"solution": program(self.operations)},
        )

    def _steps(self) -> str:
        gap, comma = (" ", ", ") if self.language == "en" else ("", "，")
        told = []
        for letter, step in zip(LETTERS, self.operations, strict=False):
            key = step.sign if step.sign in "+-" else f"{step.sign}{step.operand}"
            told.append(f"{letter}{gap}{_TOLD[self.language][key].format(n=step.operand)}")
        return comma.join(told)

    def _call(self, x: int) -> dict[str, object]:
        return {"function": "f", "arguments": [x], "expected": Chain(x, self.operations).result}

    def derive(self, voice: Voice, slip: float) -> Thought:
        """The steps as operations, a line each."""
        steps = tuple(
            voice.rng.choice(_OPERATIONS) if voice.slips(slip) else step for step in self.operations
        )
        lines = [
            f"{letter} {o.sign}{o.operand}\n" for letter, o in zip(LETTERS, steps, strict=False)
        ]
        return Thought("".join(lines), program(steps))

    def guess(self, voice: Voice) -> str:
        """A function of the right shape."""
        return program(tuple(voice.rng.choice(_OPERATIONS) for _ in self.operations))


def draw_function(rng: random.Random, split: Split) -> FunctionItem:
    """A description of uniform difficulty, in either language."""
    while True:
        operations = tuple(rng.choice(_OPERATIONS) for _ in range(rng.choice(STEPS)))
        item = FunctionItem(operations, rng.choice(LANGUAGES))
        if split_of(item.signature) is split:
            return item


_LETTER_LABELS = dict.fromkeys(LANGUAGES, tuple(f"{letter} " for letter in LETTERS))


@dataclass(frozen=True, slots=True)
class PrintItem:
    """A program and what it prints."""

    chain: Chain
    language: str
    checks: bool = True

    @property
    def problem(self) -> Problem:
        """Its id holds the chain's signature, which decides the split as for stories."""
        return Problem(
            id=f"{self.language}:print:{self.chain.signature}",
            question=f"{_PRINTS[self.language]}\n{self._code()}",
            answer=str(self.chain.result),
            verifier="number",
            domain="logic",
            language=self.language,
            difficulty=len(self.chain.operations),
        )

    def _code(self) -> str:
        before, lines = "x", [f"x={self.chain.start}"]
        for letter, step in zip(LETTERS, self.chain.operations, strict=False):
            sign = "//" if step.sign == "/" else step.sign
            lines.append(f"{letter}={before}{sign}{step.operand}")
            before = letter
        return "\n".join([*lines, f"print({before})"])

    def derive(self, voice: Voice, slip: float) -> Thought:
        """A tally by letters."""
        return tally(self.chain, _LETTER_LABELS, voice, slip)

    def guess(self, voice: Voice) -> str:
        """As for stories."""
        return guessed(self.chain, voice)


def draw_print(rng: random.Random, split: Split) -> PrintItem:
    """A program of uniform difficulty, with a question in either language."""
    return PrintItem(draw_chain(rng, rng.choice(PRINTED_STEPS), split), rng.choice(LANGUAGES))
