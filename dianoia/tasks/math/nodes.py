"""The abstract syntax tree of an answer: expressions, collections, relations, words; and walks over it.

The parser (`terms`, `grammar`, `quantities`, `answer_parser`) makes trees, `evaluate` computes their values, `compare` decides
whether two say the same. Nodes are equal if they were written alike: `Number(1/2, "fraction")` is not
`Number(1/2, "decimal")`. The random points of `equal` depend on the repr of nodes.
"""

from dataclasses import dataclass, fields, is_dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from dianoia.tasks.math.units import Unit


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an answer."""


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A number written in digits."""

    value: Fraction
    notation: Literal["integer", "decimal", "fraction", "power"] = "integer"
    places: int = 0
    """Digits after the decimal point."""


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
    """A value with a minus sign."""

    value: Node


@dataclass(frozen=True, slots=True)
class Signed(Node):
    """Plus-minus a value; minus-plus if `first` is -1."""

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
    """A tuple, a point or an interval: two or more items between brackets, which may be of two kinds."""

    opening: str
    items: tuple[Node, ...]
    closing: str


@dataclass(frozen=True, slots=True)
class SetOf(Node):
    """A set, given by its members."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Builder(Node):
    """A set, given by a condition on its members: {x | x > 2}."""

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
    """R, Z, N, Q or C, with its exponent or subscript as text: `R^+`."""

    name: str


@dataclass(frozen=True, slots=True)
class Ellipsis(Node):
    """Three dots: members that are left out of a list."""


@dataclass(frozen=True, slots=True)
class Based(Node):
    """A number in a base, such as 101_2; compared by its digits."""

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
    """A value with a percent sign, a unit or a word after it."""

    value: Node
    percent: bool = False
    unit: Unit | None = None
    noun: str | None = None
    """Words after the value that are no unit, in lower case."""
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
    """Several answers in a row."""

    items: tuple[Node, ...]
    joint: Literal[",", "and", "or", "signs"]
    """What joins them; "signs" for both values of a plus-minus."""
    boxed: bool = False
    """Every item has a box of its own."""


@dataclass(frozen=True, slots=True)
class Boxed(Node):
    """The content of a box."""

    content: Node


# Walks over trees ------------------------------------------------------------------------------


def names_of(node: Any) -> set[str]:
    """Return the names of variables in a tree."""
    if isinstance(node, Name):
        return {node.text}
    return set().union(*map(names_of, children(node)))


def children(node: Any) -> list[Any]:
    """Return the child nodes of a node; fields that are tuples of nodes count as one child each."""
    # Rows of a matrix are tuples of tuples.
    if isinstance(node, tuple):
        return list(node)
    # By the fields of dataclasses, so that a new kind of node needs no walk of its own.
    if not is_dataclass(node):
        return []
    return [
        part
        for field in fields(node)
        if isinstance(part := getattr(node, field.name), Node | tuple)
    ]


def has(node: Any, node_type: type) -> bool:
    """Return True if a tree contains a node of a type."""
    return isinstance(node, node_type) or any(has(part, node_type) for part in children(node))


def with_sign(node: Any, sign: int) -> Any:
    """Return a tree with its plus-minus signs replaced by plus (`sign` 1) or minus (-1); minus-plus the other way round."""
    if isinstance(node, Signed):
        inner = with_sign(node.value, sign)
        return inner if node.first * sign > 0 else Negative(inner)
    if isinstance(node, tuple):
        return tuple(with_sign(part, sign) for part in node)
    # Numbers, texts and units, which are dataclasses too but have no signs.
    if not isinstance(node, Node):
        return node
    changed = {field.name: with_sign(getattr(node, field.name), sign) for field in fields(node)}
    return replace(node, **changed)


def has_two_signs(node: Node) -> bool:
    """Return True if a tree contains a plus-minus sign."""
    return has(node, Signed)


def has_constant(node: Any, name: str) -> bool:
    """Return True if a tree contains a constant: "pi", "e", "i" or "infinity"."""
    return node == Constant(name) or any(has_constant(part, name) for part in children(node))


def members(node: Node) -> tuple[Node, ...]:
    """Return the members of a list, set or tuple; any other node is its own only member."""
    return node.items if isinstance(node, Listing | SetOf | Bracketed) else (node,)


def is_collection(node: Node) -> bool:
    """Return True for a tree that has members, and so no single value."""
    return isinstance(node, Bracketed | SetOf | SetOperation | NumberSet | Builder | Matrix)


def flat(node: Node) -> list[Node]:
    """Return the sets that a tree of unions and intersections joins, from left to right."""
    if isinstance(node, SetOperation) and node.operation in ("cup", "cap"):
        return [*flat(node.left), *flat(node.right)]
    return [node]


def same_shape(gold: Node, answer: Node) -> bool:
    """Return False for two matrices of different shapes. Any other pair passes: an expression may be a matrix too."""
    shapes = [
        (len(node.rows), len(node.rows[0])) if isinstance(node, Matrix) else None
        for node in (gold, answer)
    ]
    return shapes[0] == shapes[1] or None in shapes


def as_quantity(node: Node) -> Quantity:
    """Return a node as a quantity; a plain value becomes one without a unit."""
    return node if isinstance(node, Quantity) else Quantity(node)


def scaled(node: Node, factor: Fraction) -> Node:
    """Return a value times a number; a number stays a number."""
    if factor == 1:
        return node
    return (
        Number(node.value * factor, node.notation)
        if isinstance(node, Number)
        else Product((Number(factor, "fraction"), node))
    )


def as_words(node: Node) -> str | None:
    """Return the text of words, or of a capital letter, in lower case; None for any other node."""
    if isinstance(node, Words):
        return node.text
    return (
        node.text.lower()
        if isinstance(node, Name) and len(node.text) == 1 and node.text.isupper()
        else None
    )
