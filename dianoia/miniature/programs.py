"""Code in the miniature: functions from a description, and what a program prints.

A description names its steps by letters, `a adds 3, b doubles it`. The function has one statement per step and is
graded by running it on tests. An author who derives writes the steps down as operations, `a +3`; an author who answers
at once writes steps that look right. What a program prints is a chain (`chains`) written as code; it belongs to logic.
"""

import json
import random
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.miniature.authors import LANGUAGES, Author, Thought
from dianoia.miniature.chains import (
    BOUNDS,
    BOUNDS_IN_CORPUS,
    STEPS,
    Bounds,
    Chain,
    Operation,
    Split,
    draw_chain,
    draw_operand,
    split_of,
)
from dianoia.miniature.stories import guessed_result, tally

# One label per step, turn or statement; seven are enough for the longest of them.
LETTERS = "abcdefg"
# Functions of these steps are linear in x, so that two inputs would tell any two of them apart.
_INPUTS = (1, 4, 10)
"""Arguments on which a function is run."""
_READ = BOUNDS_IN_CORPUS[4]
"""Numbers of the functions that the corpus reads, whatever their length."""
# Keys: the sign alone where the operand is free, sign and operand where a word says both.
_STEP_WORDS = {
    "en": {"+": "adds {n}", "-": "takes {n} off", "*2": "doubles it", "*3": "triples it"},
    "zh": {"+": "加{n}", "-": "减{n}", "*2": "翻倍", "*3": "三倍"},
}
_DESCRIPTIONS = {
    "en": "Write a function f(x): {steps}.",
    "zh": "写函数f(x)：{steps}。",
}
_PRINT_QUESTIONS = {"en": "What does this print?", "zh": "这段程序输出什么？"}


def draw_step(rng: random.Random, bounds: Bounds = _READ) -> Operation:
    """Draw a step of a function: sums twice as often as products."""
    # No halving: the inputs are fixed, and not all are even.
    sign = rng.choice("++--*")
    return Operation(
        sign,
        rng.choice((2, 3)) if sign == "*" else draw_operand(rng, bounds.operand, bounds.two_digits),
    )


def function_source(operations: tuple[Operation, ...]) -> str:
    """Return the Python function of the operations, on one line."""
    # (+3, *2) -> `def f(x): a=x+3; b=a*2; return b`.
    previous, statements = "x", []
    for letter, step in zip(LETTERS, operations, strict=False):
        statements.append(f"{letter}={previous}{step.sign}{step.operand}; ")
        previous = letter
    return f"def f(x): {''.join(statements)}return {previous}"


@dataclass(frozen=True, slots=True)
class FunctionItem:
    """A description of a function as a problem, with its derivations."""

    operations: tuple[Operation, ...]
    language: str
    checks: bool = False

    @property
    def signature(self) -> str:
        """The operations in signs."""
        return "f" + "".join(f"{o.sign}{o.operand}" for o in self.operations)

    @property
    def problem(self) -> Problem:
        """The problem. Its gold answer is a list of tests, which the verifier `code` runs; `solution` passes them."""
        return Problem(
            id=f"{self.language}:{self.signature}",
            question=_DESCRIPTIONS[self.language].format(steps=self._steps()),
            # Calls with their results, computed by the chain of the steps.
            answer=json.dumps({"calls": [self._call(x) for x in _INPUTS]}),
            verifier="code",
            domain="code",
            language=self.language,
            difficulty=len(self.operations),
            columns={"solution": function_source(self.operations)},
        )

    def _steps(self) -> str:
        gap, comma = (" ", ", ") if self.language == "en" else ("", "，")
        steps = []
        for letter, step in zip(LETTERS, self.operations, strict=False):
            key = step.sign if step.sign in "+-" else f"{step.sign}{step.operand}"
            steps.append(f"{letter}{gap}{_STEP_WORDS[self.language][key].format(n=step.operand)}")
        return comma.join(steps)

    def _call(self, x: int) -> dict[str, object]:
        return {"function": "f", "arguments": [x], "expected": Chain(x, self.operations).result}

    def derive(self, author: Author, slip: float) -> Thought:
        """Write the steps as operations, one per line."""
        steps = tuple(
            # Steps are independent: a slip leaves the later ones right, unlike in a tally.
            draw_step(author.rng) if author.slips(slip) else step
            for step in self.operations
        )
        lines = [
            f"{letter} {o.sign}{o.operand}\n" for letter, o in zip(LETTERS, steps, strict=False)
        ]
        return Thought("".join(lines), function_source(steps))

    def guess(self, author: Author) -> str:
        """Return a function of the right shape."""
        return function_source(tuple(draw_step(author.rng) for _ in self.operations))


def draw_function(rng: random.Random, split: Split, *, in_corpus: bool = False) -> FunctionItem:
    """Draw a description of uniform difficulty, in either language; the corpus has smaller numbers."""
    while True:
        steps = rng.choice(STEPS)
        bounds = _READ if in_corpus else BOUNDS[steps]
        operations = tuple(draw_step(rng, bounds) for _ in range(steps))
        item = FunctionItem(operations, rng.choice(LANGUAGES))
        if split_of(item.signature) is split:
            return item


_LETTER_LABELS = dict.fromkeys(LANGUAGES, tuple(f"{letter} " for letter in LETTERS))


@dataclass(frozen=True, slots=True)
class PrintItem:
    """The question what a program prints, with its derivations."""

    chain: Chain
    language: str
    checks: bool = True

    @property
    def problem(self) -> Problem:
        """The problem. Its id holds the chain's signature, which decides the split as for stories."""
        return Problem(
            # `print` in the id: the same chain may be a story as well, and is on the same side of the split.
            id=f"{self.language}:print:{self.chain.signature}",
            question=f"{_PRINT_QUESTIONS[self.language]}\n{self._code()}",
            answer=str(self.chain.result),
            verifier="number",
            domain="logic",
            language=self.language,
            difficulty=len(self.chain.operations),
        )

    def _code(self) -> str:
        previous, lines = "x", [f"x={self.chain.start}"]
        for letter, step in zip(LETTERS, self.chain.operations, strict=False):
            # Exact by construction, but `/` would print a float.
            sign = "//" if step.sign == "/" else step.sign
            lines.append(f"{letter}={previous}{sign}{step.operand}")
            previous = letter
        return "\n".join([*lines, f"print({previous})"])

    def derive(self, author: Author, slip: float) -> Thought:
        """Write a tally by letters."""
        return tally(self.chain, _LETTER_LABELS, author, slip)

    def guess(self, author: Author) -> str:
        """Return an answer at once, as for stories."""
        return guessed_result(self.chain, author)


def draw_print(rng: random.Random, split: Split, *, in_corpus: bool = False) -> PrintItem:
    """Draw a program of uniform difficulty, with a question in either language."""
    return PrintItem(
        draw_chain(rng, rng.choice(STEPS), split, in_corpus=in_corpus), rng.choice(LANGUAGES)
    )
