"""What an answer says, as a tree: expressions, collections, relations, words.

In and out of the grammar (`grammar`, `answers`), evaluated by `evaluate`, compared by `compare`. Nodes are equal where
they were written alike.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from dianoia.tasks.math.units import Unit


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an answer."""


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A number by its digits."""

    value: Fraction
    notation: Literal["integer", "decimal", "fraction", "power"] = "integer"
    places: int = 0
    """Digits behind the decimal point."""


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """`pi`, `e`, `i` or `infinity`."""

    name: str


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A variable, with its subscript and primes: `x`, `a_{n+1}`, `y'`, `\\gamma`."""

    text: str


@dataclass(frozen=True, slots=True)
class Sum(Node):
    """Terms that are added."""

    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Product(Node):
    """Factors that are multiplied."""

    factors: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Negative(Node):
    """The opposite of a value."""

    value: Node


@dataclass(frozen=True, slots=True)
class Signed(Node):
    """Plus-minus a value, or minus-plus where `first` is -1."""

    value: Node
    first: int


@dataclass(frozen=True, slots=True)
class Quotient(Node):
    """A fraction, or a division."""

    top: Node
    bottom: Node


@dataclass(frozen=True, slots=True)
class Power(Node):
    """A base to an exponent."""

    base: Node
    exponent: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A known function of its arguments: `sin`, `root` (degree, radicand), `log` (base, argument), `binom`, `abs`."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Apply(Node):
    """A function without a definition, as in f(2) < f(1)."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Matrix(Node):
    """Rows of entries; every row has the same length."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Cases(Node):
    """Rows of a definition by cases, or of a system of equations."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Bracketed(Node):
    """A tuple, a point, or an interval: at least two items, or brackets of two kinds."""

    opening: str
    items: tuple[Node, ...]
    closing: str


@dataclass(frozen=True, slots=True)
class SetOf(Node):
    """A set by its members."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Builder(Node):
    """A set by a condition on its members: {x | x > 2}."""

    variable: str
    condition: Node


@dataclass(frozen=True, slots=True)
class SetOperation(Node):
    """Union, intersection or difference of sets."""

    operation: Literal["cup", "cap", "minus"]
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class NumberSet(Node):
    """R, Z, N, Q or C, with what stands in its exponent."""

    name: str


@dataclass(frozen=True, slots=True)
class Ellipsis(Node):
    """Members that are left out of a list."""


@dataclass(frozen=True, slots=True)
class Based(Node):
    """A number in a base, compared by its digits."""

    digits: str
    base: int
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Ratio(Node):
    """A ratio, or a time of day."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Words(Node):
    """Words, in lower case."""

    text: str


@dataclass(frozen=True, slots=True)
class Quantity(Node):
    """A value with a percent sign, a unit, or a word behind it."""

    value: Node
    percent: bool = False
    unit: Unit | None = None
    noun: str | None = None
    """Words that are no unit, in lower case."""
    symbols: str = ""
    """The unit as it was written."""


@dataclass(frozen=True, slots=True)
class Relation(Node):
    """A chain of parts with `=`, `<`, `le`, `ne`, `approx`, `in` or `equiv` between them."""

    parts: tuple[Node, ...]
    signs: tuple[str, ...]
    modulus: Node | None = None


@dataclass(frozen=True, slots=True)
class Listing(Node):
    """Several answers side by side."""

    items: tuple[Node, ...]
    joint: Literal[",", "and", "or", "signs"]
    """What joins them; "signs" for both values of a plus-minus."""
    boxed: bool = False
    """Every item stands in a box of its own."""


@dataclass(frozen=True, slots=True)
class Boxed(Node):
    """What stands in a box."""

    content: Node
