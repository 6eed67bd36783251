"""Equivalence of two answers: decide, part by part, whether an answer says what the gold answer says.

In: two trees (`answer_parser`) and the question. Out: True or False, or `Unreadable` if the answer has a word or unit that the
question does not ask for. Both trees take the same path; expressions end in `equal`.

Decisions:
1. A list is a multiset: members may be in any order, but each counts. A set counts equal members once, and so does a list if
   the question asks for a set. A tuple has an order. So has a list with an ellipsis, and one that faces values with
   different names: (1, 2) is x = 1, y = 2.
2. `x = 5` equals 5, and 5 equals `x = 5`. Another name than the gold answer's is wrong. Every part of a chain `3+2 = 5` has
   to be right. An equation that names no value equals an equation that is a multiple of it: 2x + 2y = 6 and x + y = 3.
3. `40/3 \\approx 13.33` is 40/3, and it is 13.33 if the gold answer is that decimal. The decimal has to be the other part,
   rounded or truncated.
4. A unit may be left out on either side. If both have one, the units have to measure the same quantity and are converted. If
   only the answer has one, the question has to ask for that quantity, and in this unit if it names any.
5. A word after a number has to be in the question or the gold answer ("7 apples").
6. A percent sign may be left out if the gold answer has one, and added if the question speaks of percent.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from dianoia.tasks.math.arithmetic import Undefined
from dianoia.tasks.math.equal import equal, same_ratio
from dianoia.tasks.math.evaluation import Evaluator
from dianoia.tasks.math.nodes import (
    Based,
    Bracketed,
    Builder,
    Cases,
    Ellipsis,
    Listing,
    Negative,
    Node,
    NumberSet,
    Quantity,
    Ratio,
    Relation,
    SetOf,
    SetOperation,
    Sum,
    Words,
    as_quantity,
    as_words,
    flat,
    has_constant,
    is_collection,
    members,
    names_of,
    same_shape,
    scaled,
)
from dianoia.tasks.math.question import check_noun, check_unit, expected_by, occurs
from dianoia.tasks.math.relations import (
    COLLECTIONS,
    MIRRORED,
    approximate_values,
    distinct_names,
    is_equation,
    is_sum_of_names,
    mirrored,
    named_values,
    normal_form,
    same_digits,
    sides_difference,
)
from dianoia.tasks.math.sets import real_set, same_set, speaks_of_sets
from dianoia.tasks.math.units import unit

_DEGREE = unit("°")
_PERCENT_WORDS = ("%", "percent", "百分")


class Comparison:
    """Compares answers to one question, which may be empty."""

    def __init__(self, question: str) -> None:
        self.question = question.lower()
        self.asks_percent = any(sign in self.question for sign in _PERCENT_WORDS)
        self.asks_set = re.search(r"\bset\b|集合", self.question) is not None

    def same(self, gold: Node, answer: Node) -> bool:
        """Return True if an answer says what the gold answer says.

        Raises:
            Unreadable: the answer has a word or unit that the question does not ask for.
            TooLarge: the comparison would take too long.
        """
        # Members are compared by this function too, so that each is brought to normal form where it is compared.
        gold, answer = normal_form(gold), normal_form(answer)
        if isinstance(gold, Listing) or isinstance(answer, Listing):
            return self._same_lists(gold, answer)
        if isinstance(gold, Relation) or isinstance(answer, Relation):
            return self._same_relations(gold, answer)
        return self._same_values(gold, answer)

    # Lists -----------------------------------------------------------------------------------------

    def _same_lists(self, gold: Node, answer: Node) -> bool:
        """Compare two answers of which one is a list at least."""
        # A model often boxes the same answer twice: \boxed{5} ... \boxed{5} is 5.
        if isinstance(answer, Listing) and answer.boxed:
            answer = self._without_repeats(answer)
            if not isinstance(answer, Listing):
                return self.same(gold, answer)
        # x < 1 or x > 2 is a list of conditions, and a union of intervals.
        gold_set, answer_set = real_set(gold), real_set(answer)
        if (
            gold_set is not None
            and answer_set is not None
            and any(map(speaks_of_sets, (gold, answer)))
        ):
            return same_set(gold_set, answer_set)
        if isinstance(gold, Bracketed) or isinstance(answer, Bracketed):
            return self._same_in_order(gold, answer)
        # What is no list counts as a list of one: {1,2} faces 1, 2.
        is_set = isinstance(gold, SetOf) or isinstance(answer, SetOf)
        return self._same_members(members(gold), members(answer), is_set)

    def _without_repeats(self, listing: Listing) -> Node:
        """Return a list of boxes in which equal ones count once; a single one is returned by itself."""
        items = self._distinct(listing.items)
        return items[0] if len(items) == 1 else Listing(tuple(items), listing.joint)

    def _same_in_order(self, gold: Node, answer: Node) -> bool:
        """Compare a tuple with a list of values with different names: (1, 2) with x = 1, y = 2."""
        gold_items, answer_items = members(gold), members(answer)
        names = distinct_names(gold_items) or distinct_names(answer_items)
        if names is None:
            return False
        return self._same_pairwise(gold_items, answer_items)

    def _same_pairwise(self, gold: Sequence[Node], answer: Sequence[Node]) -> bool:
        return len(gold) == len(answer) and all(
            self.same(a, b) for a, b in zip(gold, answer, strict=True)
        )

    def _same_members(self, gold: Sequence[Node], answer: Sequence[Node], is_set: bool) -> bool:
        """Match each member of one side with one of the other, so that none is left over."""
        # 1, 2, ..., n: what is left out depends on the order.
        if any(isinstance(normal_form(item), Ellipsis) for item in (*gold, *answer)):
            return self._same_pairwise(gold, answer)
        # x = 1, y = 2 and y = 2, x = 1: by name, in any order. Against 1, 2 without names: in order.
        gold_names, answer_names = distinct_names(gold), distinct_names(answer)
        if gold_names is not None and answer_names is not None:
            if sorted(gold_names) != sorted(answer_names):
                return False
            return all(
                self.same(item, answer[answer_names.index(name)])
                for name, item in zip(gold_names, gold, strict=True)
            )
        if gold_names is not None and not any(isinstance(item, Relation) for item in answer):
            return self._same_pairwise(gold, answer)
        if is_set or self.asks_set:
            gold, answer = self._distinct(gold), self._distinct(answer)
        if len(gold) != len(answer):
            return False
        # Greedy matching is enough where equality is transitive, since equal members can be exchanged.
        unmatched = list(answer)
        for item in gold:
            match = next((candidate for candidate in unmatched if self.same(item, candidate)), None)
            if match is None:
                return False
            unmatched.remove(match)
        return True

    def _distinct(self, items: Sequence[Node]) -> list[Node]:
        """Return the items without those that equal an earlier one."""
        distinct: list[Node] = []
        for item in items:
            if not any(self.same(earlier, item) for earlier in distinct):
                distinct.append(item)
        return distinct

    # Relations -------------------------------------------------------------------------------------

    def _same_relations(self, gold: Node, answer: Node) -> bool:
        """Compare two answers of which one is a relation at least (decision 2)."""
        if (isinstance(answer, Relation) and "approx" in answer.signs) or (
            isinstance(gold, Relation) and "approx" in gold.signs
        ):
            return self._same_approximately(gold, answer)
        # Both sides as a name and values: x = 2+3 = 5 has the name x and the values 2+3 and 5.
        gold_name, gold_values = named_values(gold)
        answer_name, answer_values = named_values(answer)
        if gold_values and answer_values:
            # x + y = 3 is not 3; but 75 is m + n = 75, if that was to be found.
            if not isinstance(answer, Relation) and is_equation(gold) and gold_name is None:
                return False
            if not isinstance(gold, Relation) and answer_name is None and is_sum_of_names(answer):
                return self.same(gold, answer_values[-1])
            # The names agree, or one side has none: the gold value against every value of the answer.
            if gold_name is None or answer_name is None or gold_name & answer_name:
                # x^2 + 1 = 2x is an equation to be satisfied, and no chain of equal values.
                if gold_name is None and is_equation(gold) and not self._is_chain(gold_values):
                    return self._same_equation(gold, answer)
                if all(self.same(gold_values[-1], value) for value in answer_values):
                    return True
            return self._same_equation(gold, answer)
        return self._same_inequality(gold, answer)

    def _is_chain(self, values: Sequence[Node]) -> bool:
        """Return True if an equation states one value in several ways: 2+3 = 5."""
        return not names_of(tuple(values)) or all(self.same(values[-1], value) for value in values)

    def _same_equation(self, gold: Node, answer: Node) -> bool:
        """Return True if one equation is a multiple of the other, by a number that is not 0."""
        if not (is_equation(gold) and is_equation(answer)):
            return False
        sides = [sides_difference(node) for node in (gold, answer)]
        return (
            sides[0] is not None
            and sides[1] is not None
            and same_ratio(sides[0], sides[1]) is not None
        )

    def _same_inequality(self, gold: Node, answer: Node) -> bool:
        """Compare inequalities, memberships and congruences: as sets if they are sets of real numbers, else by their parts."""
        # x < 3 and 3 > x, 1 < x < 2 and (1, 2) are equal as sets.
        gold_set, answer_set = real_set(gold), real_set(answer)
        if gold_set is not None and answer_set is not None:
            return same_set(gold_set, answer_set)
        if not (isinstance(gold, Relation) and isinstance(answer, Relation)):
            return False
        if (gold.modulus is None) != (answer.modulus is None):
            return False
        if gold.modulus is not None and answer.modulus is not None:
            return self._same_congruence(gold, answer)
        # Part by part, as written or mirrored: a < b and b > a.
        for parts, signs in ((answer.parts, answer.signs), mirrored(answer)):
            if signs == gold.signs and self._same_pairwise(gold.parts, parts):
                return True
        return self._same_difference(gold, answer)

    def _same_difference(self, gold: Relation, answer: Relation) -> bool:
        """Compare inequalities by the ratio of their differences: 2x < 6y is x < 3y, and -x > -3y.

        A negative ratio turns the sign round.
        """
        if len(gold.signs) != 1 or len(answer.signs) != 1 or gold.signs[0] not in MIRRORED:
            return False
        sides = [sides_difference(node) for node in (gold, answer)]
        if sides[0] is None or sides[1] is None or not (names_of(sides[0]) | names_of(sides[1])):
            return False
        ratio = same_ratio(sides[0], sides[1])
        expected_sign = gold.signs[0] if ratio == 1 else MIRRORED[gold.signs[0]]
        return ratio is not None and answer.signs[0] == expected_sign

    def _same_congruence(self, gold: Relation, answer: Relation) -> bool:
        """Return True for equal moduli and right sides that differ by a multiple of them: 3 and 10 modulo 7."""
        if (
            gold.modulus is None
            or answer.modulus is None
            or not equal(gold.modulus, answer.modulus)
            or len(gold.parts) != len(answer.parts)
        ):
            return False
        # The left sides, usually the name x, have to be equal; the right sides only modulo the modulus.
        if not self.same(gold.parts[0], answer.parts[0]):
            return False
        difference = Sum((gold.parts[-1], Negative(answer.parts[-1])))
        try:
            value, modulus = Evaluator(30)(difference), Evaluator(30)(gold.modulus)
        # With names in it nothing can be computed: n + 1 modulo n.
        except Undefined:
            return self.same(gold.parts[-1], answer.parts[-1])
        return (
            isinstance(value, Fraction)
            and isinstance(modulus, Fraction)
            and modulus != 0
            and (value / modulus).denominator == 1
        )

    def _same_approximately(self, gold: Node, answer: Node) -> bool:
        """Compare answers of which one has an approximation (decision 3)."""
        sides = []
        for node in (gold, answer):
            values = approximate_values(node)
            if values is None:
                return False
            sides.append(values)
        return any(self.same(gold_value, value) for gold_value in sides[0] for value in sides[1])

    # Values ----------------------------------------------------------------------------------------

    def _same_values(self, gold: Node, answer: Node) -> bool:
        """Compare two answers that are neither lists nor relations, by the type of their nodes."""
        # The order matters: a quantity may hold any other value, and words may stand for a set.
        if isinstance(gold, Quantity) or isinstance(answer, Quantity):
            return self._same_quantities(as_quantity(gold), as_quantity(answer))
        if (
            any(isinstance(side, Words) for side in (gold, answer))
            and (texts := [as_words(side) for side in (gold, answer)])
            and all(texts)
        ):
            return texts[0] == texts[1]
        if isinstance(gold, Based) or isinstance(answer, Based):
            return same_digits(gold, answer, self.question)
        # 3:4 is not 6:8: a ratio is asked for in lowest terms, and 12:30 is a time.
        if isinstance(gold, Ratio) and isinstance(answer, Ratio):
            return self._same_pairwise(gold.parts, answer.parts)
        if isinstance(gold, Cases) and isinstance(answer, Cases):
            return self._same_cases(gold, answer)
        if any(isinstance(side, Ratio | Cases) for side in (gold, answer)):
            return False
        if isinstance(gold, Ellipsis) or isinstance(answer, Ellipsis):
            return gold == answer
        if isinstance(gold, (*COLLECTIONS[:5], Words)) or isinstance(
            answer, (*COLLECTIONS[:5], Words)
        ):
            return self._same_collections(gold, answer)
        return same_shape(gold, answer) and equal(gold, answer)

    def _same_cases(self, gold: Cases, answer: Cases) -> bool:
        """Compare the rows of definitions by cases, in any order."""
        rows = [
            [row[0] if len(row) == 1 else Bracketed("(", row, ")") for row in node.rows]
            for node in (gold, answer)
        ]
        return self._same_members(rows[0], rows[1], is_set=False)

    def _same_collections(self, gold: Node, answer: Node) -> bool:
        """Compare tuples, intervals, sets and words for sets: by members, as sets of real numbers, or by structure."""
        if (
            isinstance(gold, Bracketed)
            and isinstance(answer, Bracketed)
            and self._same_brackets(gold, answer)
        ):
            return True
        if isinstance(gold, SetOf) and isinstance(answer, SetOf):
            return self._same_members(gold.items, answer.items, is_set=True)
        # {5} is 5.
        if isinstance(gold, SetOf) and len(gold.items) == 1 and not is_collection(answer):
            return self.same(gold.items[0], answer)
        if isinstance(answer, SetOf) and len(answer.items) == 1 and not is_collection(gold):
            return self.same(gold, answer.items[0])
        if isinstance(gold, NumberSet) and isinstance(answer, NumberSet):
            return gold.name == answer.name
        gold_set, answer_set = real_set(gold), real_set(answer)
        if (
            gold_set is not None
            and answer_set is not None
            # Two bracketed pairs may be points, which have been compared item by item above.
            and not (isinstance(gold, Bracketed) and isinstance(answer, Bracketed))
        ):
            return same_set(gold_set, answer_set)
        return self._same_structure(gold, answer)

    def _same_brackets(self, gold: Bracketed, answer: Bracketed) -> bool:
        """Compare tuples or intervals item by item. Of two items the brackets count: (1,2] is not (1,2)."""
        # ⟨1, 2⟩ is a vector, written (1, 2) by others.
        brackets = [
            (node.opening.replace("langle", "("), node.closing.replace("rangle", ")"))
            for node in (gold, answer)
        ]
        if len(gold.items) == 2 and brackets[0] != brackets[1]:
            return False
        return self._same_pairwise(gold.items, answer.items)

    def _same_structure(self, gold: Node, answer: Node) -> bool:
        """Compare sets whose members cannot be computed by their structure: the same parts in the same positions."""
        if isinstance(gold, SetOperation) and isinstance(answer, SetOperation):
            if gold.operation != answer.operation:
                return False
            if gold.operation == "minus":
                return self.same(gold.left, answer.left) and self.same(gold.right, answer.right)
            return self._same_members(flat(gold), flat(answer), is_set=True)
        if isinstance(gold, Builder) and isinstance(answer, Builder):
            return gold.variable == answer.variable and self.same(gold.condition, answer.condition)
        return False

    # Quantities ------------------------------------------------------------------------------------

    def _same_quantities(self, gold: Quantity, answer: Quantity) -> bool:
        """Compare values with units, nouns or percent signs (decisions 4 to 6)."""
        check_noun(gold, answer, self.question)
        if gold.unit and answer.unit:
            if gold.unit.dimension != answer.unit.dimension:
                return False
            # 1.5 km and 1500 m: the gold value in units of the answer.
            gold_value = scaled(gold.value, gold.unit.size / answer.unit.size)
            return gold.percent == answer.percent and self.same(gold_value, answer.value)
        if not self._has_compatible_unit(gold, answer):
            return False
        if gold.percent == answer.percent:
            return self.same(gold.value, answer.value)
        return not (answer.unit or gold.unit or answer.noun) and self._same_share(gold, answer)

    def _has_compatible_unit(self, gold: Quantity, answer: Quantity) -> bool:
        """Return True if the unit or noun of each side is compatible with the other side's, or with none.

        Raises:
            Unreadable: the gold answer has no unit, and the question does not ask for the answer's.
        """
        if answer.unit and not gold.unit:
            # A gold answer with a noun counts something, and is no measurement: 5 apples is not 5 cm.
            if gold.noun:
                return False
            check_unit(answer.unit, answer.symbols, self.question)
        if gold.noun and answer.noun:
            return occurs(answer.noun, gold.noun) or occurs(gold.noun, answer.noun)
        # 30° is compatible with 30, but not with pi/6, which is in radians.
        in_degrees = [side.unit == _DEGREE for side in (gold, answer)]
        in_radians = [has_constant(side.value, "pi") for side in (gold, answer)]
        return not (gold.unit and answer.noun) and not (
            in_degrees[0] != in_degrees[1] and any(in_radians)
        )

    def _same_share(self, gold: Quantity, answer: Quantity) -> bool:
        """Compare a value with a percent sign and one without (decision 6): 50% is 0.5, and 50 if percent are asked for."""
        if gold.percent:
            return self.same(gold.value, answer.value) or self.same(
                scaled(gold.value, Fraction(1, 100)), answer.value
            )
        # 0.5 is 50%. If the question asks for a percentage, 50 is 50%, and 0.5 is only if it can be a share.
        as_share = not expected_by(self.question).percent or _is_at_most_one(gold.value)
        if as_share and self.same(gold.value, scaled(answer.value, Fraction(1, 100))):
            return True
        return self.asks_percent and self.same(gold.value, answer.value)


# Helpers ---------------------------------------------------------------------------------------------


def _is_at_most_one(node: Node) -> bool:
    """Return True if a value can be meant as a share of one."""
    try:
        value = Evaluator(30)(node)
    except Undefined:
        return False
    return isinstance(value, Fraction) and abs(value) <= 1
