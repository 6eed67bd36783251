"""Relations taken apart for comparison: names and their values, sides of equations, approximations.

In: trees. Out: trees in one normal form (`normal_form`); a name and the values that a relation gives it; one side minus the
other; the values that an approximation stands for.
"""

import re
from collections.abc import Sequence

from dianoia.tasks.math.arithmetic import Undefined, difference, is_below, is_complex
from dianoia.tasks.math.equal import equal
from dianoia.tasks.math.evaluation import Evaluator
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
"""Sign of a relation that is read from right to left."""
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
"""Nodes that are no expressions. `compare` relies on the first five being collections of members."""


def normal_form(node: Node) -> Node:
    """Return a tree in the form in which it is compared.

    Boxes are removed. `1 ± 2` becomes the list 3, -1. Cases with one entry per row become a list. `x ∈ {1, 2}` becomes
    its set. `(x, y) = (1, 2)` becomes the list x = 1, y = 2.
    """
    if isinstance(node, Boxed):
        return normal_form(node.content)
    if isinstance(node, Listing):
        items = [part for item in node.items for part in _alternatives(normal_form(item))]
        return Listing(tuple(items), node.joint, node.boxed)
    if isinstance(node, Quantity) and isinstance(node.value, Boxed):
        return Quantity(node.value.content, node.percent, node.unit, node.noun, node.symbols)
    # A system of equations is typed as cases with one entry per row.
    if isinstance(node, Cases) and all(len(row) == 1 for row in node.rows):
        return normal_form(Listing(tuple(row[0] for row in node.rows), ","))
    # All signs change together: ±1 ± 2 is 3 and -3, and not 1 or -1.
    if has_two_signs(node):
        return Listing((with_sign(node, 1), with_sign(node, -1)), "signs")
    if isinstance(node, Relation) and node.signs == ("in",) and isinstance(node.parts[0], Name):
        # An interval keeps its name, so that `sets` can tell x in (0,1) from y in (0,1).
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
        # (x, y) = (1, 2): one equation per name.
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


def _alternatives(node: Node) -> tuple[Node, ...]:
    """Return the items of a list joined by "or" or made by a plus-minus; any other node is its own only item."""
    return node.items if isinstance(node, Listing) and node.joint in ("or", "signs") else (node,)


def distinct_names(items: Sequence[Node]) -> list[str] | None:
    """Return the name of each item if they all have one and no two share it: x and y for x = 1, y = 2; else None."""
    names = []
    for item in items:
        name, values = named_values(normal_form(item))
        if not name or not values or not isinstance(item, Relation):
            return None
        # Of several names for one value (x = y = 5) the first in alphabetical order stands for it.
        names.append(min(name))
    return names if len(names) > 1 and len(set(names)) == len(names) else None


def named_values(node: Node) -> tuple[frozenset[str] | None, tuple[Node, ...]]:
    """Return the names that a relation gives a value, or None, and the expressions that it equates with them.

    `x = y = 2+3 = 5` has the names x and y and the values 2+3 and 5. `5 = x` has the name x. `5` and `2+3 = 5` have no name.
    A part is no name if it occurs in the values: `x = x^2` is an equation. Other relations, such as `x < 3`, have no values.
    """
    if not isinstance(node, Relation):
        return None, (node,)
    if set(node.signs) != {"="}:
        return None, ()
    parts = node.parts
    # Names come first, as many as there are; without any, the last part may be one (5 = x).
    names: list[str] = []
    for count, part in enumerate(parts[:-1]):
        # `x = x + 1` defines nothing: the name occurs in what follows.
        name = _name_of(part)
        if name is None or (_names_within(part) & names_of(tuple(parts[count + 1 :]))):
            break
        names.append(name)
    if names:
        return frozenset(names), parts[len(names) :]
    # Without a name in front, the last part may be one: 5 = x.
    last = _name_of(parts[-1])
    if last is not None and not (_names_within(parts[-1]) & names_of(parts[:-1])):
        return frozenset((last,)), parts[:-1]
    return None, parts


def is_sum_of_names(node: Node) -> bool:
    """Return True if one side is a sum or product of different names: m+n = 75 answers "find m+n" with 75."""
    if not isinstance(node, Relation) or node.signs != ("=",) or names_of(node.parts[1]):
        return False
    # The terms of m + n, or the factors of mn.
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


def _names_within(node: Node) -> set[str]:
    """Return the names that a name is made of; for f(x) only f."""
    return {node.name} if isinstance(node, Apply) else names_of(node)


def _name_of(node: Node) -> str | None:
    """Return the name that a tree is: x, f(-1), AB, |AB|, the angle ABC, (x, y), a label of words; None if it is none."""
    if isinstance(node, Name):
        return node.text
    if isinstance(node, Words):
        # The prefix keeps the word "area" apart from a variable of that name.
        return f"text {node.text}"
    if isinstance(node, Apply):
        return f"{node.name}({node.arguments})"
    if isinstance(node, Call) and node.function == "abs":
        # |AB| is the length of a segment; |x| is an absolute value.
        inner = _name_of(node.arguments[0])
        return f"|{inner}|" if inner and len(inner) > 1 and inner.isupper() else None
    if isinstance(node, Product):
        # AB, ABC and AB_1: capital letters side by side name a segment or an angle.
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
    """Return True if a tree is one equation."""
    return isinstance(node, Relation) and node.signs == ("=",)


def sides_difference(node: Node) -> Node | None:
    """Return the left side of a relation minus the right side; None if either is no expression."""
    if (
        not isinstance(node, Relation)
        or len(node.parts) != 2
        or any(isinstance(part, (*COLLECTIONS, Quantity)) for part in node.parts)
    ):
        return None
    return Sum((node.parts[0], Negative(node.parts[1])))


def mirrored(node: Relation) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """Return the parts and signs of a relation, read from right to left: 3 > x for x < 3."""
    return tuple(reversed(node.parts)), tuple(
        MIRRORED.get(sign, sign) for sign in reversed(node.signs)
    )


def approximate_values(node: Node) -> list[Node] | None:
    r"""Return the values that an answer with an approximation gives: its first part, and its last one if it is a decimal.

    `x = 40/3 \approx 13.33` gives 40/3 and 13.33. None if its parts disagree: 13.33 has to be 40/3 rounded or truncated.
    """
    if not isinstance(node, Relation):
        return [node]
    parts = list(node.parts)
    signs = list(node.signs)
    if not set(signs) <= {"=", "approx"}:
        return None
    # Names at the front are dropped; `x \approx 5` gives no value, `x \approx 5.0` a rounded one.
    while len(parts) > 1 and _name_of(parts[0]) is not None:
        parts.pop(0)
        if signs.pop(0) == "approx" and len(parts) == 1:
            return [parts[0]] if _decimal(parts[0]) is not None else None
    # Each approximation has to be of the part before it, and equal parts have to be equal constants.
    for lhs, sign, rhs in zip(parts, signs, parts[1:], strict=False):
        if sign == "approx" and not _is_rounded(lhs, rhs):
            return None
        if sign == "=" and not (not names_of((lhs, rhs)) and equal(_bare(lhs), _bare(rhs))):
            return None
    if "approx" not in signs:
        return [parts[-1]]
    return [parts[0], *([parts[-1]] if _decimal(parts[-1]) is not None else [])]


def _bare(node: Node) -> Node:
    return node.value if isinstance(node, Quantity) else node


def _decimal(node: Node) -> Number | None:
    """Return the decimal number that a value is, without its sign and unit; None if it is none."""
    inner = _bare(node)
    inner = inner.value if isinstance(inner, Negative) else inner
    return inner if isinstance(inner, Number) and inner.notation == "decimal" else None


def _is_rounded(exact: Node, rounded: Node) -> bool:
    """Return True if a decimal number is another value, rounded or truncated to its places."""
    number = _decimal(rounded)
    if number is None or isinstance(exact, COLLECTIONS):
        return False
    try:
        # 40 digits: more than decimals in answers usually have.
        values = [Evaluator(40)(_bare(node)) for node in (exact, rounded)]
    except Undefined:
        return False
    if any(isinstance(value, list) or is_complex(value) for value in values):
        return False
    return is_below(difference(values[0], values[1]), -number.places)


def same_digits(gold: Node, answer: Node, question: str) -> bool:
    """Compare numbers of which one or both have a base, by their digits. The base may be left out: 101 for 101_2.

    If only the answer has a base, the question has to name that base.
    """
    # Not by value: 101_2 is not 5, since the question was to write it in base 2.
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
    base_is_stated = (
        is_gold
        or re.search(rf"base[ -]*\$?{based.base}\b|_{{?{based.base}\b", question) is not None
    )
    return base_is_stated and str(inner.value) == based.digits and negative == based.negative
