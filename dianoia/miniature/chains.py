"""Chains of arithmetic: the numbers behind a word problem, before any words.

A chain is a start value and 2 to 7 operations. The difficulty is the number of steps, and the numbers grow with it: a model
of a million parameters knows every single step of the short chains by heart, and ever fewer of those of the long ones. So a
long chain is hard twice, and what a model gets wrong in it is a slip of its own.

Held-out chains are disjoint from training chains by construction: a hash of the chain's signature (its start and
operations, without the words) decides the split. So neither another seed, nor another wording, nor another language can
carry a chain across. The base's corpus is drawn from the training split as well.

Not here: words (`stories`), derivations (`stories`, `programs`).
"""

import hashlib
import random
from dataclasses import dataclass, replace
from enum import StrEnum

STEPS = range(2, 8)
"""Numbers of operations in a chain or a function: the difficulties."""
SMALLEST_OPERAND = 2


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large the numbers of a chain are."""

    value: int
    """The largest value."""
    operand: int
    """The largest number that a step adds or takes away."""
    two_digits: float = 0.5
    """Probability that such a number has two digits."""


BOUNDS_IN_CORPUS = {2: Bounds(60, 9), 3: Bounds(100, 19), 4: Bounds(150, 29), 5: Bounds(200, 49),
                    6: Bounds(300, 69), 7: Bounds(400, 99)}  # fmt: skip
"""Numbers that the corpus reads, by the number of steps."""
# A level above those of the corpus: a base has read of such numbers, but seldom.
BOUNDS = {
    steps: replace(BOUNDS_IN_CORPUS[min(steps + 1, STEPS[-1])], two_digits=0.75) for steps in STEPS
}
"""Numbers of problems, by the number of steps."""
LARGEST = BOUNDS[STEPS[-1]].value
LARGEST_OPERAND = BOUNDS[STEPS[-1]].operand
HELDOUT_SHARE = 0.1


class Split(StrEnum):
    """The side of the train/held-out split that a problem is on."""

    TRAIN = "train"
    HELDOUT = "heldout"


def split_of(signature: str, share: float = HELDOUT_SHARE) -> Split:
    """Return the side that a hash of the signature decides; `share` of all signatures are held out."""
    # Not `hash`, which differs between processes. Four bytes as a number from 0 to 1 have ample resolution.
    digest = hashlib.sha256(signature.encode()).digest()
    return Split.HELDOUT if int.from_bytes(digest[:4]) / 2**32 < share else Split.TRAIN


@dataclass(frozen=True, slots=True)
class Operation:
    """One step: `sign` is one of + - * /, applied to the current value and `operand`."""

    sign: str
    operand: int

    def apply(self, value: int) -> int:
        """Return the next value. Division is exact by construction of the chain."""
        match self.sign:
            case "+":
                return value + self.operand
            case "-":
                return value - self.operand
            case "*":
                return value * self.operand
            case _:
                return value // self.operand


@dataclass(frozen=True, slots=True)
class Chain:
    """A start value and the operations on it."""

    start: int
    operations: tuple[Operation, ...]

    @property
    def values(self) -> tuple[int, ...]:
        """All values from the start to the result: one more than there are operations."""
        values = [self.start]
        for operation in self.operations:
            values.append(operation.apply(values[-1]))
        return tuple(values)

    @property
    def result(self) -> int:
        """The last value: the answer."""
        return self.values[-1]

    @property
    def signature(self) -> str:
        """The chain in signs, e.g. `12+7*2-5`, which all wordings of the chain share."""
        return str(self.start) + "".join(f"{o.sign}{o.operand}" for o in self.operations)

    @property
    def split(self) -> Split:
        """The split, decided by the signature alone."""
        return split_of(self.signature)


def draw_operand(rng: random.Random, largest: int, two_digits: float) -> int:
    """Draw an operand of a sum of at most `largest`: with probability `two_digits` of two digits, where they fit."""
    if rng.random() < two_digits and largest >= 10:
        return rng.randint(10, largest)
    return rng.randint(SMALLEST_OPERAND, min(9, largest))


def operations_on(value: int, bounds: Bounds, rng: random.Random) -> list[Operation]:
    """Return one operation per sign that keeps `value` within the bounds; never empty within them."""
    # Which numbers are drawn from `rng`, and in which order, decides every problem and document: keep both.
    largest, operand, two_digits = bounds.value, bounds.operand, bounds.two_digits
    operations = []
    # The conditions keep the ranges of `randint` from being empty, which would raise.
    if value <= largest - SMALLEST_OPERAND:
        operations.append(
            Operation("+", draw_operand(rng, min(operand, largest - value), two_digits))
        )
    if value > SMALLEST_OPERAND:
        operations.append(Operation("-", draw_operand(rng, min(operand, value - 1), two_digits)))
    factors = [f for f in (2, 3) if value * f <= largest]
    if factors:
        operations.append(Operation("*", rng.choice(factors)))
    if value % 2 == 0 and value > 2:
        operations.append(Operation("/", 2))
    return operations


def draw_chain(rng: random.Random, steps: int, split: Split, *, in_corpus: bool = False) -> Chain:
    """Draw chains of `steps` operations until one is on the side `split`."""
    bounds = (BOUNDS_IN_CORPUS if in_corpus else BOUNDS)[steps]
    while True:
        # Within these bounds `+`, `-` and `*2` are possible at the first step of every chain.
        value = start = rng.randint(3, bounds.value // 2)
        operations: list[Operation] = []
        for _ in range(steps):
            operation = rng.choice(operations_on(value, bounds, rng))
            value = operation.apply(value)
            operations.append(operation)
        chain = Chain(start, tuple(operations))
        if chain.split is split:
            return chain
