"""Walks over the trees of answers: their names, their parts, both values of a plus-minus sign."""

from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from typing import Any

from dianoia.tasks.math.nodes import (
    Bracketed,
    Builder,
    Constant,
    Listing,
    Matrix,
    Name,
    Negative,
    Node,
    Number,
    NumberSet,
    Product,
    Quantity,
    SetOf,
    SetOperation,
    Signed,
    Words,
)


def names_of(node: Any) -> set[str]:
    """The names in a tree."""
    if isinstance(node, Name):
        return {node.text}
    return set().union(*map(names_of, children(node)))


def children(node: Any) -> list[Any]:
    """The parts of a node that are nodes."""
    if isinstance(node, tuple):
        return list(node)
    if not is_dataclass(node):
        return []
    return [
        part
        for field in fields(node)
        if isinstance(part := getattr(node, field.name), Node | tuple)
    ]


def has(node: Any, kind: type) -> bool:
    """Tell whether a node of a kind stands in a tree."""
    return isinstance(node, kind) or any(has(part, kind) for part in children(node))


def with_sign(node: Any, sign: int) -> Any:
    """A tree with a plus or a minus in place of its plus-minus signs."""
    if isinstance(node, Signed):
        inner = with_sign(node.value, sign)
        return inner if node.first * sign > 0 else Negative(inner)
    if isinstance(node, tuple):
        return tuple(with_sign(part, sign) for part in node)
    if not isinstance(node, Node):
        return node
    changed = {field.name: with_sign(getattr(node, field.name), sign) for field in fields(node)}
    return replace(node, **changed)


def has_two_signs(node: Node) -> bool:
    """Tell whether a plus-minus sign stands in a tree."""
    return has(node, Signed)


def has_constant(node: Any, name: str) -> bool:
    """Tell whether a constant stands in a tree."""
    return node == Constant(name) or any(has_constant(part, name) for part in children(node))


def members(node: Node) -> tuple[Node, ...]:
    """The members of a list, set or tuple; anything else is its own."""
    return node.items if isinstance(node, Listing | SetOf | Bracketed) else (node,)


def is_collection(node: Node) -> bool:
    """Tell whether a tree has members, and is no value."""
    return isinstance(node, Bracketed | SetOf | SetOperation | NumberSet | Builder | Matrix)


def flat(node: Node) -> list[Node]:
    """The sets that a union or intersection joins."""
    if isinstance(node, SetOperation) and node.operation in ("cup", "cap"):
        return [*flat(node.left), *flat(node.right)]
    return [node]


def same_shape(gold: Node, answer: Node) -> bool:
    """False for a matrix beside a number, and for matrices of two shapes."""
    shapes = [
        (len(node.rows), len(node.rows[0])) if isinstance(node, Matrix) else None
        for node in (gold, answer)
    ]
    return shapes[0] == shapes[1] or None in shapes


def as_quantity(node: Node) -> Quantity:
    """A value as a quantity without a unit."""
    return node if isinstance(node, Quantity) else Quantity(node)


def scaled(node: Node, factor: Fraction) -> Node:
    """A value times a number."""
    if factor == 1:
        return node
    return (
        Number(node.value * factor, node.notation)
        if isinstance(node, Number)
        else Product((Number(factor, "fraction"), node))
    )


def as_words(node: Node) -> str | None:
    """The text of words, or of a capital letter, in lower case; None for anything else."""
    if isinstance(node, Words):
        return node.text
    return (
        node.text.lower()
        if isinstance(node, Name) and len(node.text) == 1 and node.text.isupper()
        else None
    )
