"""Whether an answer says what a gold answer says, part by part.

In: two trees (`answers`) and the question. Out: True or False; `Unreadable` where the answer has a word or unit that
nobody asked for. The gold answer is read and compared as any answer is.

Decisions:
1. A list is a multiset: each member once, in any order; a set counts members once, and so does a list where the question
   asks for a set. A tuple has an order, and so has a list with an ellipsis, or beside values with different names.
2. `x = 5` is met by 5, and 5 by `x = 5`; another name for a named value is wrong. Of a chain `3+2 = 5` every part has
   to be right. An equation that names no value is met by an equation that is a multiple of it.
3. `40/3 \\approx 13.33` is 40/3, and 13.33 where the gold answer is that decimal; the decimal has to be the other part, rounded.
4. A unit may be left out on either side. Two units measure one quantity and are converted. Beside a gold answer without
   a unit the question, where there is one, has to ask for the quantity, and in this unit if it names any.
5. A word behind a number is one of the question's or the gold answer's ("7 apples").
6. A percent sign may be left out where the gold answer has one, and added where the question speaks of percent.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from dianoia.tasks.math.equal import equal, same_ratio
from dianoia.tasks.math.evaluate import Evaluator, Undefined, below, difference, is_complex
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
)
from dianoia.tasks.math.sets import is_set_like, real_set, same_set
from dianoia.tasks.math.tree import has_constant, has_two_signs, names_of, with_sign
from dianoia.tasks.math.units import Unit, unit
from dianoia.tasks.math.verdict import Reason, Unreadable

_DEGREE = unit("°")
_PERCENT_WORDS = ("%", "percent", "百分")
_MIRRORED = {"<": ">", ">": "<", "le": "ge", "ge": "le", "=": "=", "ne": "ne", "approx": "approx"}
_COLLECTIONS = (
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


class Comparison:
    """Compares answers to one question."""

    def __init__(self, question: str) -> None:
        self.question = question.lower()
        self.asks_percent = any(sign in self.question for sign in _PERCENT_WORDS)
        self.asks_set = re.search(r"\bset\b|集合", self.question) is not None

    def same(self, gold: Node, answer: Node) -> bool:
        """Whether an answer says what the gold answer says."""
        gold, answer = _opened(gold), _opened(answer)
        if isinstance(gold, Listing) or isinstance(answer, Listing):
            return self._same_lists(gold, answer)
        if isinstance(gold, Relation) or isinstance(answer, Relation):
            return self._same_relations(gold, answer)
        return self._same_values(gold, answer)

    # Lists -----------------------------------------------------------------------------------------

    def _same_lists(self, gold: Node, answer: Node) -> bool:
        if isinstance(answer, Listing) and answer.boxed:
            answer = self._once(answer)
            if not isinstance(answer, Listing):
                return self.same(gold, answer)
        left, right = real_set(gold), real_set(answer)
        if left is not None and right is not None and any(map(_speaks_of_sets, (gold, answer))):
            return same_set(left, right)
        members = [_members(node) for node in (gold, answer)]
        ordered = [isinstance(node, Bracketed) for node in (gold, answer)]
        if any(ordered):
            return self._in_order(gold, answer)
        return self._same_members(
            members[0], members[1], any(isinstance(node, SetOf) for node in (gold, answer))
        )

    def _once(self, listing: Listing) -> Node:
        """Boxes with one value are one."""
        kept: list[Node] = []
        for item in listing.items:
            if not any(self.same(earlier, item) for earlier in kept):
                kept.append(item)
        return kept[0] if len(kept) == 1 else Listing(tuple(kept), listing.joint)

    def _in_order(self, gold: Node, answer: Node) -> bool:
        """A tuple beside values with names: x = 1, y = 2 and (1, 2)."""
        gold_items, answer_items = _members(gold), _members(answer)
        names = _distinct_names(gold_items) or _distinct_names(answer_items)
        if names is None:
            return False
        return self._each(gold_items, answer_items)

    def _each(self, left: Sequence[Node], right: Sequence[Node]) -> bool:
        return len(left) == len(right) and all(
            self.same(a, b) for a, b in zip(left, right, strict=True)
        )

    def _same_members(self, gold: Sequence[Node], answer: Sequence[Node], is_set: bool) -> bool:
        """Each member of one side is one of the other, and none is left over."""
        if any(isinstance(_opened(item), Ellipsis) for item in (*gold, *answer)):
            return self._each(gold, answer)
        gold_names, answer_names = _distinct_names(gold), _distinct_names(answer)
        if gold_names is not None and answer_names is not None:
            if sorted(gold_names) != sorted(answer_names):
                return False
            return all(
                self.same(item, answer[answer_names.index(name)])
                for name, item in zip(gold_names, gold, strict=True)
            )
        if gold_names is not None and not any(isinstance(item, Relation) for item in answer):
            return self._each(gold, answer)
        if is_set or self.asks_set:
            gold, answer = self._distinct(gold), self._distinct(answer)
        if len(gold) != len(answer):
            return False
        left = list(answer)
        for item in gold:
            match = next((other for other in left if self.same(item, other)), None)
            if match is None:
                return False
            left.remove(match)
        return True

    def _distinct(self, items: Sequence[Node]) -> list[Node]:
        kept: list[Node] = []
        for item in items:
            if not any(self.same(earlier, item) for earlier in kept):
                kept.append(item)
        return kept

    # Relations -------------------------------------------------------------------------------------

    def _same_relations(self, gold: Node, answer: Node) -> bool:
        if (isinstance(answer, Relation) and "approx" in answer.signs) or (
            isinstance(gold, Relation) and "approx" in gold.signs
        ):
            return self._same_approximately(gold, answer)
        gold_name, gold_values = _named(gold)
        answer_name, answer_values = _named(answer)
        if gold_values and answer_values:
            if not isinstance(answer, Relation) and _is_equation(gold) and gold_name is None:
                return False
            if not isinstance(gold, Relation) and answer_name is None and _names_a_sum(answer):
                return self.same(gold, answer_values[-1])
            if gold_name is None or answer_name is None or gold_name & answer_name:
                if gold_name is None and _is_equation(gold) and not self._is_chain(gold_values):
                    return self._same_equation(gold, answer)
                if all(self.same(gold_values[-1], value) for value in answer_values):
                    return True
            return self._same_equation(gold, answer)
        return self._same_inequality(gold, answer)

    def _is_chain(self, values: Sequence[Node]) -> bool:
        """Whether an equation says one value in several ways: 2+3 = 5."""
        return not names_of(tuple(values)) or all(self.same(values[-1], value) for value in values)

    def _same_equation(self, gold: Node, answer: Node) -> bool:
        """Whether one equation is a multiple of the other by a number that is not 0."""
        if not (_is_equation(gold) and _is_equation(answer)):
            return False
        sides = [_difference(node) for node in (gold, answer)]
        return (
            sides[0] is not None
            and sides[1] is not None
            and same_ratio(sides[0], sides[1]) is not None
        )

    def _same_inequality(self, gold: Node, answer: Node) -> bool:
        left, right = real_set(gold), real_set(answer)
        if left is not None and right is not None:
            return same_set(left, right)
        if not (isinstance(gold, Relation) and isinstance(answer, Relation)):
            return False
        if (gold.modulus is None) != (answer.modulus is None):
            return False
        if gold.modulus is not None and answer.modulus is not None:
            return self._same_congruence(gold, answer)
        for parts, signs in ((answer.parts, answer.signs), _mirrored(answer)):
            if signs == gold.signs and self._each(gold.parts, parts):
                return True
        return self._same_difference(gold, answer)

    def _same_difference(self, gold: Relation, answer: Relation) -> bool:
        """2x < 6 and x < 3: one difference is a positive multiple of the other, or a negative one the other way round."""
        if len(gold.signs) != 1 or len(answer.signs) != 1 or gold.signs[0] not in _MIRRORED:
            return False
        sides = [_difference(node) for node in (gold, answer)]
        if sides[0] is None or sides[1] is None or not (names_of(sides[0]) | names_of(sides[1])):
            return False
        ratio = same_ratio(sides[0], sides[1])
        wanted = gold.signs[0] if ratio == 1 else _MIRRORED[gold.signs[0]]
        return ratio is not None and answer.signs[0] == wanted

    def _same_congruence(self, gold: Relation, answer: Relation) -> bool:
        if (
            gold.modulus is None
            or answer.modulus is None
            or not equal(gold.modulus, answer.modulus)
            or len(gold.parts) != len(answer.parts)
        ):
            return False
        if not self.same(gold.parts[0], answer.parts[0]):
            return False
        difference_of = Sum((gold.parts[-1], Negative(answer.parts[-1])))
        try:
            value, modulus = Evaluator(30)(difference_of), Evaluator(30)(gold.modulus)
        except Undefined:
            return self.same(gold.parts[-1], answer.parts[-1])
        return (
            isinstance(value, Fraction)
            and isinstance(modulus, Fraction)
            and modulus != 0
            and (value / modulus).denominator == 1
        )

    def _same_approximately(self, gold: Node, answer: Node) -> bool:
        """Decision 3."""
        sides = []
        for node in (gold, answer):
            values = _approximate_values(node)
            if values is None:
                return False
            sides.append(values)
        return any(self.same(wanted, value) for wanted in sides[0] for value in sides[1])

    # Values ----------------------------------------------------------------------------------------

    def _same_values(self, gold: Node, answer: Node) -> bool:
        if isinstance(gold, Quantity) or isinstance(answer, Quantity):
            return self._same_quantities(_quantity(gold), _quantity(answer))
        if isinstance(gold, Words) and isinstance(answer, Words):
            return gold.text == answer.text
        if isinstance(gold, Based) or isinstance(answer, Based):
            return self._same_digits(gold, answer)
        if isinstance(gold, Ratio) or isinstance(answer, Ratio):
            return (
                isinstance(gold, Ratio)
                and isinstance(answer, Ratio)
                and self._each(gold.parts, answer.parts)
            )
        if isinstance(gold, Cases) or isinstance(answer, Cases):
            return (
                isinstance(gold, Cases)
                and isinstance(answer, Cases)
                and self._same_cases(gold, answer)
            )
        if isinstance(gold, Ellipsis) or isinstance(answer, Ellipsis):
            return gold == answer
        if isinstance(gold, (*_COLLECTIONS[:5], Words)) or isinstance(
            answer, (*_COLLECTIONS[:5], Words)
        ):
            return self._same_collections(gold, answer)
        return _same_shape(gold, answer) and equal(gold, answer)

    def _same_cases(self, gold: Cases, answer: Cases) -> bool:
        rows = [
            [row[0] if len(row) == 1 else Bracketed("(", row, ")") for row in node.rows]
            for node in (gold, answer)
        ]
        return self._same_members(rows[0], rows[1], is_set=False)

    def _same_collections(self, gold: Node, answer: Node) -> bool:
        if (
            isinstance(gold, Bracketed)
            and isinstance(answer, Bracketed)
            and self._same_brackets(gold, answer)
        ):
            return True
        if isinstance(gold, SetOf) and isinstance(answer, SetOf):
            return self._same_members(gold.items, answer.items, is_set=True)
        if isinstance(gold, SetOf) and len(gold.items) == 1 and not _is_collection(answer):
            return self.same(gold.items[0], answer)
        if isinstance(answer, SetOf) and len(answer.items) == 1 and not _is_collection(gold):
            return self.same(gold, answer.items[0])
        if isinstance(gold, NumberSet) and isinstance(answer, NumberSet):
            return gold.name == answer.name
        left, right = real_set(gold), real_set(answer)
        if (
            left is not None
            and right is not None
            and not (isinstance(gold, Bracketed) and isinstance(answer, Bracketed))
        ):
            return same_set(left, right)
        return self._same_structure(gold, answer)

    def _same_brackets(self, gold: Bracketed, answer: Bracketed) -> bool:
        kinds = [
            (node.opening.replace("langle", "("), node.closing.replace("rangle", ")"))
            for node in (gold, answer)
        ]
        if len(gold.items) == 2 and kinds[0] != kinds[1]:
            return False
        return self._each(gold.items, answer.items)

    def _same_structure(self, gold: Node, answer: Node) -> bool:
        """Sets whose members nobody can tell: the same parts in the same places."""
        if isinstance(gold, SetOperation) and isinstance(answer, SetOperation):
            if gold.operation != answer.operation:
                return False
            if gold.operation == "minus":
                return self.same(gold.left, answer.left) and self.same(gold.right, answer.right)
            return self._same_members(_flat(gold), _flat(answer), is_set=True)
        if isinstance(gold, Builder) and isinstance(answer, Builder):
            return gold.variable == answer.variable and self.same(gold.condition, answer.condition)
        return False

    def _same_digits(self, gold: Node, answer: Node) -> bool:
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
            or re.search(rf"base[ -]*\$?{based.base}\b|_{{?{based.base}\b", self.question)
            is not None
        )
        return asked and str(inner.value) == based.digits and negative == based.negative

    # Quantities ------------------------------------------------------------------------------------

    def _same_quantities(self, gold: Quantity, answer: Quantity) -> bool:
        self._check_noun(gold, answer)
        if gold.unit and answer.unit:
            if gold.unit.dimension != answer.unit.dimension:
                return False
            left = _scaled(gold.value, gold.unit.size / answer.unit.size)
            return gold.percent == answer.percent and self.same(left, answer.value)
        if answer.unit and not gold.unit:
            if gold.noun:
                return False
            self._check_unit(answer.unit, answer.symbols)
        if (
            gold.noun
            and answer.noun
            and not (_occurs(answer.noun, gold.noun) or _occurs(gold.noun, answer.noun))
        ):
            return False
        if gold.unit and answer.noun:
            return False
        if (gold.unit is None and answer.unit == _DEGREE and has_constant(gold.value, "pi")) or (
            answer.unit is None and gold.unit == _DEGREE and has_constant(answer.value, "pi")
        ):
            return False  # an angle in radians
        if gold.percent == answer.percent:
            return self.same(gold.value, answer.value)
        if answer.unit or gold.unit or answer.noun:
            return False
        if gold.percent:
            return self.same(gold.value, answer.value) or self.same(
                _scaled(gold.value, Fraction(1, 100)), answer.value
            )
        if self.same(gold.value, _scaled(answer.value, Fraction(1, 100))):
            return True
        return self.asks_percent and self.same(gold.value, answer.value)

    def _check_noun(self, gold: Quantity, answer: Quantity) -> None:
        if answer.noun and not _occurs(
            answer.noun, f"{self.question} {gold.noun or ''} {gold.symbols.lower()}"
        ):
            raise Unreadable(Reason.TEXT_BEHIND)

    def _check_unit(self, measured: Unit, symbols: str) -> None:
        """Decision 4."""
        if not self.question.strip():
            return
        asked = _units_of(self.question)
        parts = [
            part
            for word in re.findall(r"[^\W\d_]+|[°$€£¥₹¢]", symbols)
            if (part := unit(word) or unit(word.lower()))
        ]
        for part in parts or [measured]:
            quantities = {base for base, _ in part.dimension}
            rivals = [
                rival for rival in asked if {base for base, _ in rival.dimension} == quantities
            ]
            of_one_kind = [rival for rival in rivals if rival.dimension == part.dimension]
            if of_one_kind and all(rival.size != part.size for rival in of_one_kind):
                raise Unreadable(Reason.UNIT)
            if not rivals and not all(_is_cued(base, self.question) for base in quantities):
                raise Unreadable(Reason.UNIT)


def _units_of(question: str) -> list[Unit]:
    """The units that a question speaks of."""
    words = re.findall(
        r"[a-z]{3,}|\b(?:cm|mm|km|kg|mg|ml|ft|lb|mi|yd|hr|oz|m|g|s|h|l)\b|[\u3400-\u9fff]{1,3}|[€£¥₹¢°]|\\\$|\$(?=\s*\d)",
        question,
    )
    return [measured for word in words if (measured := unit(word.removeprefix("\\")))]


_CUES = {
    "length": r"length|long|\bfar\b|distance|height|high|tall|width|wide|depth|deep|perimeter|circumference|radius|diameter|\bside|\barea\b|volume|surface|edge|thick|travel|short|长|宽|高|面积|体积|距离|周长|边",
    "mass": r"weigh|mass\b|heavy|heavier|重|质量",
    "time": r"\btime\b|long|\bold\b|\bage\b|when|duration|speed|\brate\b|fast|时间|多久|速度",
    "month": r"\btime\b|long|\bold\b|\bage\b|older|younger|岁|多久|年",
    "usd": r"cost|price|\bpay|money|spen[dt]|earn|profit|revenue|worth|charge|\bbill\b|\bsell|\bsold|\bbuy|bought|salary|wage|\bowe|change|afford|budget|价|钱|费",
    "angle": r"angle|degree|\\circ|rotat|turn|角|度",
    "radian": r"angle|radian|rotat|弧度",
    "unit": r"unit|area|volume|perimeter|length|distance|radius|diameter|surface|面积|体积|单位",
}
"""What makes a question ask for a quantity, by base quantity."""


def _is_cued(base: str, question: str) -> bool:
    """Whether a question asks for a quantity without a unit: "How long is it?"."""
    cue = _CUES.get(base, _CUES["usd"] if base in ("eur", "gbp", "yuan", "rupee") else r"(?!)")
    return re.search(cue, question) is not None


# Parts ---------------------------------------------------------------------------------------------


def _opened(node: Node) -> Node:
    """Without a box; both values of a plus-minus as a list, members of a name tuple by name."""
    if isinstance(node, Boxed):
        return _opened(node.content)
    if isinstance(node, Listing):
        items = [part for item in node.items for part in _spread(_opened(item))]
        return Listing(tuple(items), node.joint, node.boxed)
    if isinstance(node, Quantity) and isinstance(node.value, Boxed):
        return Quantity(node.value.content, node.percent, node.unit, node.noun, node.symbols)
    if isinstance(node, Cases) and all(len(row) == 1 for row in node.rows):
        return _opened(Listing(tuple(row[0] for row in node.rows), ","))
    if has_two_signs(node):
        return Listing((with_sign(node, 1), with_sign(node, -1)), "or")
    if isinstance(node, Relation) and node.signs == ("in",):
        return (
            node
            if real_set(node) is not None or not isinstance(node.parts[0], Name)
            else node.parts[1]
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
    return node.items if isinstance(node, Listing) and node.joint == "or" else (node,)


def _members(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Listing | SetOf | Bracketed) else (node,)


def _speaks_of_sets(node: Node) -> bool:
    if isinstance(node, Listing):
        return any(map(_speaks_of_sets, node.items))
    return is_set_like(node) or (isinstance(node, Relation) and "=" not in node.signs)


def _is_collection(node: Node) -> bool:
    return isinstance(node, Bracketed | SetOf | SetOperation | NumberSet | Builder | Matrix)


def _flat(node: Node) -> list[Node]:
    if isinstance(node, SetOperation) and node.operation in ("cup", "cap"):
        return [*_flat(node.left), *_flat(node.right)]
    return [node]


def _same_shape(gold: Node, answer: Node) -> bool:
    """False for a matrix beside a number, and for matrices of two shapes."""
    shapes = [
        (len(node.rows), len(node.rows[0])) if isinstance(node, Matrix) else None
        for node in (gold, answer)
    ]
    return shapes[0] == shapes[1] or None in shapes


def _quantity(node: Node) -> Quantity:
    return node if isinstance(node, Quantity) else Quantity(node)


def _scaled(node: Node, factor: Fraction) -> Node:
    if factor == 1:
        return node
    return (
        Number(node.value * factor, node.notation)
        if isinstance(node, Number)
        else Product((Number(factor, "fraction"), node))
    )


def _occurs(words: str, text: str) -> bool:
    """Whether each word occurs, in either number."""
    if not words.isascii():
        return all(word in text for word in words.split())
    known = {_singular(word) for word in re.findall(r"[a-z]+", text)}
    return all(_singular(word) in known for word in re.findall(r"[a-z]+", words))


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return (
        word[: -2 if re.search(r"(?:ch|sh|x|ss|o)es\Z", word) else -1]
        if word.endswith("s") and len(word) > 3
        else word
    )


def _distinct_names(items: Sequence[Node]) -> list[str] | None:
    """The names of values that each have their own; None where one has none, or two share one."""
    names = []
    for item in items:
        name, values = _named(_opened(item))
        if not name or not values or not isinstance(item, Relation):
            return None
        names.append(min(name))
    return names if len(names) > 1 and len(set(names)) == len(names) else None


def _named(node: Node) -> tuple[frozenset[str] | None, tuple[Node, ...]]:
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


def _names_a_sum(node: Node) -> bool:
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
    """What names a value: x, f(-1), AB, |AB|, the angle ABC, (x, y), a label of words; None for anything else."""
    if isinstance(node, Name):
        return node.text
    if isinstance(node, Words):
        return f"text {node.text}"
    if isinstance(node, Apply):
        return (
            f"{node.name}({node.arguments})"
            if not any(isinstance(a, Name) for a in node.arguments)
            else node.name
        )
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


def _is_equation(node: Node) -> bool:
    return isinstance(node, Relation) and node.signs == ("=",)


def _difference(node: Node) -> Node | None:
    """One side of a relation less the other; None where they are no expressions."""
    if (
        not isinstance(node, Relation)
        or len(node.parts) != 2
        or any(isinstance(part, (*_COLLECTIONS, Quantity)) for part in node.parts)
    ):
        return None
    return Sum((node.parts[0], Negative(node.parts[1])))


def _mirrored(node: Relation) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    return tuple(reversed(node.parts)), tuple(
        _MIRRORED.get(sign, sign) for sign in reversed(node.signs)
    )


def _approximate_values(node: Node) -> list[Node] | None:
    """What an answer with an approximation says: its first exact part, and its last decimal; None where they disagree."""
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
    """Whether a decimal number is another value, rounded or cut to its places."""
    number = _decimal(rounded)
    if number is None or isinstance(exact, _COLLECTIONS):
        return False
    try:
        values = [Evaluator(40)(_bare(node)) for node in (exact, rounded)]
    except Undefined:
        return False
    if any(isinstance(value, list) or is_complex(value) for value in values):
        return False
    return below(difference(values[0], values[1]), -number.places)
