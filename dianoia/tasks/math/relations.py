"""Names of values, equations, approximations: what a relation says, taken apart for comparison.

In: trees. Out: a name and what is said to be equal to it, one side less the other, what an approximation stands for.
"""

import re
from collections.abc import Sequence

from dianoia.tasks.math.arithmetic import Undefined, below, difference, is_complex
from dianoia.tasks.math.equal import equal
from dianoia.tasks.math.evaluate import Evaluator
from dianoia.tasks.math.nodes import (
    Apply,
    Based,
    Boxed,
    Bracketed,
    Builder,
    Call,
    Cases,
    Ellipsis,
    Listing,
    Matrix,
    Name,
    Negative,
    Node,
    Number,
    NumberSet,
    Product,
    Quantity,
    Ratio,
    Relation,
    SetOf,
    SetOperation,
    Sum,
    Words,
    has_two_signs,
    is_collection,
    names_of,
    with_sign,
)
from dianoia.tasks.math.sets import real_set

MIRRORED = {"<": ">", ">": "<", "le": "ge", "ge": "le", "=": "=", "ne": "ne", "approx": "approx"}
COLLECTIONS = (
    Bracketed,
    SetOf,
    SetOperation,
    NumberSet,
    Builder,
    Matrix,
    Cases,
    Words,
    Ratio,
    Relation,
    Listing,
    Ellipsis,
)


def opened(node: Node) -> Node:
    """Without a box; both values of a plus-minus as a list, members of a name tuple by name."""
    if isinstance(node, Boxed):
        return opened(node.content)
    if isinstance(node, Listing):
        items = [part for item in node.items for part in _spread(opened(item))]
        return Listing(tuple(items), node.joint, node.boxed)
    if isinstance(node, Quantity) and isinstance(node.value, Boxed):
        return Quantity(node.value.content, node.percent, node.unit, node.noun, node.symbols)
    if isinstance(node, Cases) and all(len(row) == 1 for row in node.rows):
        return opened(Listing(tuple(row[0] for row in node.rows), ","))
    if has_two_signs(node):
        return Listing((with_sign(node, 1), with_sign(node, -1)), "signs")
    if isinstance(node, Relation) and node.signs == ("in",) and isinstance(node.parts[0], Name):
        members = node.parts[1]
        return (
            members
            if isinstance(members, SetOf) or (real_set(node) is None and is_collection(members))
            else node
        )
    if (
        isinstance(node, Relation)
        and set(node.signs) == {"="}
        and isinstance(node.parts[0], Bracketed)
    ):
        names, values = node.parts[0], node.parts[-1]
        if (
            isinstance(values, Bracketed)
            and len(values.items) == len(names.items)
            and all(isinstance(item, Name) for item in names.items)
        ):
            return Listing(
                tuple(
                    Relation(pair, ("=",)) for pair in zip(names.items, values.items, strict=True)
                ),
                ",",
            )
    return node


def _spread(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Listing) and node.joint in ("or", "signs") else (node,)


def distinct_names(items: Sequence[Node]) -> list[str] | None:
    """The names of values that each have their own; None where one has none, or two share one."""
    names = []
    for item in items:
        name, values = named(opened(item))
        if not name or not values or not isinstance(item, Relation):
            return None
        names.append(min(name))
    return names if len(names) > 1 and len(set(names)) == len(names) else None


def named(node: Node) -> tuple[frozenset[str] | None, tuple[Node, ...]]:
    """The names of a value, or None, and what is said to be equal to it; no values for other relations."""
    if not isinstance(node, Relation):
        return None, (node,)
    if set(node.signs) != {"="}:
        return None, ()
    parts = node.parts
    names: list[str] = []
    for count, part in enumerate(parts[:-1]):
        name = _name_of(part)
        if name is None or (_own_names(part) & names_of(tuple(parts[count + 1 :]))):
            break
        names.append(name)
    if names:
        return frozenset(names), parts[len(names) :]
    last = _name_of(parts[-1])
    if last is not None and not (_own_names(parts[-1]) & names_of(parts[:-1])):
        return frozenset((last,)), parts[:-1]
    return None, parts


def names_a_sum(node: Node) -> bool:
    """m+n = 75: a sum or product of different names before one equals sign."""
    if not isinstance(node, Relation) or node.signs != ("=",) or names_of(node.parts[1]):
        return False
    parts = (
        node.parts[0].terms
        if isinstance(node.parts[0], Sum)
        else node.parts[0].factors
        if isinstance(node.parts[0], Product)
        else ()
    )
    names = [
        part.text
        for part in (inner.value if isinstance(inner, Negative) else inner for inner in parts)
        if isinstance(part, Name)
    ]
    return len(names) == len(parts) == len(set(names)) > 1


def _own_names(node: Node) -> set[str]:
    """The names that a name is made of; of f(x) the f alone."""
    return {node.name} if isinstance(node, Apply) else names_of(node)


def _name_of(node: Node) -> str | None:
    """Return what names a value: x, f(-1), AB, |AB|, the angle ABC, (x, y), a label of words; None for anything else."""
    if isinstance(node, Name):
        return node.text
    if isinstance(node, Words):
        return f"text {node.text}"
    if isinstance(node, Apply):
        return f"{node.name}({node.arguments})"
    if isinstance(node, Call) and node.function == "abs":
        inner = _name_of(node.arguments[0])
        return f"|{inner}|" if inner and len(inner) > 1 and inner.isupper() else None
    if isinstance(node, Product):
        letters = [factor.text if isinstance(factor, Name) else "" for factor in node.factors]
        if all(letter[:1].isupper() and len(letter) < 4 for letter in letters):
            return "".join(letters)
        return None
    if isinstance(node, Bracketed | Ratio):
        parts = [
            _name_of(part) for part in (node.items if isinstance(node, Bracketed) else node.parts)
        ]
        return f"({','.join(part for part in parts if part)})" if all(parts) else None
    return None


def is_equation(node: Node) -> bool:
    """Tell whether a tree is one equation."""
    return isinstance(node, Relation) and node.signs == ("=",)


def sides_difference(node: Node) -> Node | None:
    """One side of a relation less the other; None where they are no expressions."""
    if (
        not isinstance(node, Relation)
        or len(node.parts) != 2
        or any(isinstance(part, (*COLLECTIONS, Quantity)) for part in node.parts)
    ):
        return None
    return Sum((node.parts[0], Negative(node.parts[1])))


def mirrored(node: Relation) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """The parts and signs of a relation from right to left."""
    return tuple(reversed(node.parts)), tuple(
        MIRRORED.get(sign, sign) for sign in reversed(node.signs)
    )


def approximate_values(node: Node) -> list[Node] | None:
    """Return what an answer with an approximation says: its first exact part, and its last decimal; None where they disagree."""
    if not isinstance(node, Relation):
        return [node]
    parts = list(node.parts)
    signs = list(node.signs)
    if not set(signs) <= {"=", "approx"}:
        return None
    while len(parts) > 1 and _name_of(parts[0]) is not None:
        parts.pop(0)
        if signs.pop(0) == "approx" and len(parts) == 1:
            return [parts[0]] if _decimal(parts[0]) is not None else None
    for left, sign, right in zip(parts, signs, parts[1:], strict=False):
        if sign == "approx" and not _is_rounded(left, right):
            return None
        if sign == "=" and not (not names_of((left, right)) and equal(_bare(left), _bare(right))):
            return None
    if "approx" not in signs:
        return [parts[-1]]
    return [parts[0], *([parts[-1]] if _decimal(parts[-1]) is not None else [])]


def _bare(node: Node) -> Node:
    return node.value if isinstance(node, Quantity) else node


def _decimal(node: Node) -> Number | None:
    """A decimal number, its sign and unit aside."""
    inner = _bare(node)
    inner = inner.value if isinstance(inner, Negative) else inner
    return inner if isinstance(inner, Number) and inner.notation == "decimal" else None


def _is_rounded(exact: Node, rounded: Node) -> bool:
    """Tell whether a decimal number is another value, rounded or cut to its places."""
    number = _decimal(rounded)
    if number is None or isinstance(exact, COLLECTIONS):
        return False
    try:
        values = [Evaluator(40)(_bare(node)) for node in (exact, rounded)]
    except Undefined:
        return False
    if any(isinstance(value, list) or is_complex(value) for value in values):
        return False
    return below(difference(values[0], values[1]), -number.places)


def same_digits(gold: Node, answer: Node, question: str) -> bool:
    """Numbers in a base by their digits, which may stand without the base."""
    if isinstance(gold, Based) and isinstance(answer, Based):
        return gold == answer
    based, other, is_gold = (
        (gold, answer, True) if isinstance(gold, Based) else (answer, gold, False)
    )
    negative = isinstance(other, Negative)
    inner = other.value if isinstance(other, Negative) else other
    if (
        not isinstance(based, Based)
        or not isinstance(inner, Number)
        or inner.value.denominator != 1
    ):
        return False
    asked = (
        is_gold
        or re.search(rf"base[ -]*\$?{based.base}\b|_{{?{based.base}\b", question) is not None
    )
    return asked and str(inner.value) == based.digits and negative == based.negative
