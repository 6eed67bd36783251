"""Walks over the trees of answers: their names, their parts, both values of a plus-minus sign."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from dianoia.tasks.math.nodes import Constant, Name, Negative, Node, Signed


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
    """Whether a node of a kind stands in a tree."""
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
    """Whether a plus-minus sign stands in a tree."""
    return has(node, Signed)


def has_constant(node: Any, name: str) -> bool:
    """Whether a constant stands in a tree."""
    return node == Constant(name) or any(has_constant(part, name) for part in children(node))
