"""When outputs are equal, values are equal, assertions hold."""

from collections import Counter, OrderedDict, deque, namedtuple
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from dianoia.sandbox.guest import values as wire
from dianoia.tasks.code.asserts import NotPlain, split_asserts
from dianoia.tasks.code.output_compare import same_output, same_value


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        ("1\n2\n", "1\n2\n", True),
        ("1\n2", "1\n2\n", True),
        ("1 \t\r\n2\n\n\n", "1\n2", True),
        ("", "", True),
        ("\n\n", "", True),
        ("1\n", "1\n2\n", False),
        ("1\n2\n3\n", "1\n2\n", False),
        ("\n1\n", "1\n", False),
        ("1\n\n2\n", "1\n2\n", False),
        (" 1\n", "1\n", False),
        ("1  2\n", "1 2\n", False),
        ("1\n2\n", "1 2\n", False),
        ("yes\n", "YES\n", False),
        ("0.50\n", "0.5\n", False),
        ("", "1\n", False),
        ("1\n", "", False),
        ("1\x0c2\n", "1\n2\n", False),
    ],
)
def test_outputs_are_compared_line_by_line(value: str, expected: str, same: bool) -> None:
    assert same_output(value, expected) is same


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        ("0.50000001 x", "0.5 x", True),
        ("1000000.5", "1000000.4", True),  # by 1e-7 of a million
        ("1e3", "1000", True),
        ("0.51", "0.5", False),
        ("0.5 0.5", "0.5", False),
        ("0.5", "0.5\n0.5", False),
        ("nan", "0.5", False),
        ("inf", "1e400", False),
        ("1e9999", "2e9999", False),
        ("x1.0", "x1", False),
        ("1_0", "10", False),
        ("１", "1", False),
    ],
)
def test_a_tolerance_is_for_numbers_only(value: str, expected: str, same: bool) -> None:
    assert same_output(value, expected, 1e-6) is same


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        (2, 2, True),
        (2.0, 2, True),
        ((1, [2]), [1, [2]], True),
        ({1: "a"}, {"1": "a"}, True),
        (None, None, True),
        ({1: 0, "1": 0}, {"1": 0}, False),
        (True, 1, False),
        (1, True, False),
        (0, None, False),
        ("2", 2, False),
        ([1], [1, 2], False),
        ([1, 2, 3], [1, 2], False),
        ({1, 2}, [1, 2], False),
        ("ab", ["a", "b"], False),
        (float("nan"), 1, False),
        (0.30000000000000004, 0.3, False),
    ],
)
def test_values_are_those_of_json(value: Any, expected: Any, same: bool) -> None:
    assert same_value(value, expected) is same


def test_a_tolerance_holds_inside_values_too() -> None:
    assert same_value([0.1 + 0.2, {"a": 1.0}], [0.3, {"a": 1}], 1e-9)
    assert not same_value([0.1 + 0.2, "0.3"], [0.3, 0.3], 1e-9)
    assert not same_value(10**400, 1.5, 1e-9)


@pytest.mark.parametrize(
    "value",
    [
        1,
        -2.5,
        float("inf"),
        "é",
        None,
        True,
        b"\x00",
        [1, (2, [])],
        {1, 2},
        set(),
        {(1, 2): [3]},
        2**9000,
        -(2**70),
        1 + 2j,
        Decimal("0.10"),
        Fraction(1, 3),
        deque([1]),
        range(3, 9, 2),
        bytearray(b"x"),
        frozenset({1}),
        Counter("aab"),
        OrderedDict([(2, 1)]),
        date(2024, 2, 29),
        datetime(2024, 2, 29, 12, 30, 1, 5, timezone(timedelta(hours=2))),
        timedelta(days=-1, seconds=5),
        [int, ValueError],
    ],
)
def test_a_plain_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    back = wire.decode(wire.encode(value))
    assert back == value and type(back) is type(value)


def test_named_tuples_and_views_become_plain() -> None:
    point = namedtuple("point", "x y")(1, 2)
    assert (
        wire.decode(wire.encode(point)) == (1, 2) and type(wire.decode(wire.encode(point))) is tuple
    )
    assert wire.decode(wire.encode({1: 2}.keys())) == {1}


@pytest.mark.parametrize(
    "value", [object(), len, type("T", (), {}), (n for n in ()), iter([]), type("I", (int,), {})(1)]
)
def test_what_is_no_plain_value_does_not_go_over(value: Any) -> None:
    with pytest.raises(TypeError, match="no plain type"):
        wire.encode([value])


@pytest.mark.parametrize(
    "text", ["", "x", '{"object": []}', '{"set": [[]]}', "{}", '{"tuple": 1}', "[" * 10**5]
)
def test_anything_else_is_no_value(text: str) -> None:
    with pytest.raises(ValueError):
        wire.decode(text)


@pytest.mark.parametrize(
    ("snippet", "value", "holds"),
    [
        ("assert f(2) == 4", 4, True),
        ("assert f(2) == 4", 5, False),
        ("assert 4 == f(2)", 4, True),
        ("assert f(2) == (1, [2])", (1, [2]), True),
        ("assert f(2) == (1, 2)", [1, 2], False),
        ("assert f(2)", True, True),
        ("assert f(2)", [], False),
        ("assert not f(2)", False, True),
        ("assert f(2) is None", None, True),
        ("assert f(2) != 3", 3, False),
        ("assert 1 < f(2) <= 3", 3, True),
        ("assert f(2) in {1, 2}", 3, False),
        ("assert abs(f(2) - 0.5) < 1e-6", 0.5000001, True),
        ("assert abs(f(2) - 0.5) < 1e-6", 0.6, False),
        ("import math\nassert math.isclose(f(2), 0.1, rel_tol=1e-3)", 0.10001, True),
        ("assert set(f(2)) == set([1, 2])", [2, 1, 1], True),
        ("assert sorted(f(2)) == [1, 2]", [2, 1], True),
        ("assert isinstance(f(2), (int, float))", "2", False),
        ("assert len(f(2)) == 2 and f(2)[0] == 1", [1, 2], True),
        ("assert f(2)[0] == 1", [], False),
        ("assert f(2) + 1 == 3", "2", False),
        ("assert f(2) * 1000000000 == 0", "a", False),
        ("assert f(2) / 0 == 1", 1, False),
    ],
)
def test_assertions_are_decided_on_values(snippet: str, value: Any, holds: bool) -> None:
    steps, (assertion,) = split_asserts(snippet)
    assert {source for category, source in steps if category == "value"} == {"f(2)"}
    assert assertion.holds(dict.fromkeys(assertion.values, value)) is holds
    assert assertion.holds({}) is False


@pytest.mark.parametrize(
    "snippet",
    [
        "x = 3\nassert f(x) == 9",
        "assert f(range(3)) == 3",
        "assert f(3) == float('inf')",
        "import math\nassert f(1) == math.pi",
        "assert f(2).startswith('a')",
        "assert f(2).__eq__(4)",
        "assert all(f(n) for n in (1, 2))",
        "assert f([n for n in (1, 2)]) == 3",
        "assert Stack().items.pop() == 3",
        "for n in (1, 2):\n    assert f(n) == n",
    ],
)
def test_a_name_or_a_loop_needs_a_process_of_its_own(snippet: str) -> None:
    with pytest.raises(NotPlain):
        split_asserts(snippet)


def test_constants_are_no_tests_and_calls_keep_their_order() -> None:
    steps, assertions = split_asserts(
        "assert True, 'so far'\nassert f(g(1), [2]) == 3\nassert not h()", 5
    )
    assert steps == [("value", "f(g(1), [2])"), ("value", "h()")]
    assert [a.values for a in assertions] == [(5,), (6,)]
