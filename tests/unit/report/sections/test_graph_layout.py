"""Laws of the layout: boxes do not touch, arrows go right, lines cross no box."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.report.sections.graph_layout import (
    COLUMN_GAP,
    HEIGHT,
    ROW_GAP,
    WIDTH,
    Edge,
    Layout,
    columns,
    layout,
)

Pairs = list[tuple[str, str]]


def edges(pairs: Pairs, category: str = "weights") -> list[Edge]:
    return [Edge(a, b, category) for a, b in pairs]


def test_columns_are_the_longest_way() -> None:
    names = ["base", "zero", "cold", "dev1", "file"]
    result = columns(
        names, edges([("base", "zero"), ("zero", "cold"), ("cold", "dev1"), ("base", "dev1")])
    )
    assert result == {"base": 0, "zero": 1, "cold": 2, "dev1": 3, "file": 0}


def test_an_input_is_just_before_its_first_reader() -> None:
    names = ["base", "zero", "cold", "file", "dev1", "dev2"]
    pairs = [
        ("base", "zero"),
        ("zero", "cold"),
        ("cold", "dev1"),
        ("file", "dev1"),
        ("dev1", "dev2"),
        ("file", "dev2"),
    ]
    assert columns(names, edges(pairs))["file"] == 2


def test_an_arrow_back_is_refused() -> None:
    with pytest.raises(ValueError, match="b -> a does not point to a later name"):
        layout(["a", "b"], edges([("b", "a")]))


def test_a_chain_is_a_straight_line() -> None:
    result = layout(["a", "b", "c"], edges([("a", "b"), ("b", "c")]))
    assert {name: (box.x, box.y) for name, box in result.boxes.items()} == {
        "a": (0, 0), "b": (WIDTH + COLUMN_GAP, 0), "c": (2 * (WIDTH + COLUMN_GAP), 0),
    }  # fmt: skip
    assert (result.width, result.height) == (3 * WIDTH + 2 * COLUMN_GAP, HEIGHT)
    assert next(line.points for line in result.lines) == (
        (WIDTH, HEIGHT / 2),
        (WIDTH + COLUMN_GAP, HEIGHT / 2),
    )


def test_a_long_line_is_straight_and_shared() -> None:
    pairs = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("a", "d"), ("a", "e")]
    result = layout(list("abcde"), edges(pairs))
    longest = next(
        line for line in result.lines if (line.edge.source, line.edge.target) == ("a", "e")
    )
    shorter = next(
        line for line in result.lines if (line.edge.source, line.edge.target) == ("a", "d")
    )
    lane = longest.points[1:-1]
    assert len(lane) == 6 and {y for _, y in lane} == {lane[0][1]}
    assert shorter.points[1:-1] == lane[:4]


def lawful(result: Layout, pairs: Pairs) -> None:
    for a, b in combinations(result.boxes.values(), 2):
        assert a.x != b.x or abs(a.y - b.y) >= HEIGHT + ROW_GAP - 1e-6
    for box in result.boxes.values():
        assert (
            box.y >= -1e-6
            and box.y + HEIGHT <= result.height + 1e-6
            and box.x + WIDTH <= result.width + 1e-6
        )
    assert {(line.edge.source, line.edge.target) for line in result.lines} == set(pairs)
    for line in result.lines:
        ends = result.boxes[line.edge.source], result.boxes[line.edge.target]
        xs = [x for x, _ in line.points]
        assert xs == sorted(xs) and len(set(xs)) == len(xs)
        assert xs[0] == ends[0].x + WIDTH and xs[-1] == ends[1].x
        assert ends[1].y < line.points[-1][1] < ends[1].y + HEIGHT
        for (x, y), (to, then) in zip(line.points[1:-1:2], line.points[2:-1:2], strict=True):
            assert y == then  # level under or over the boxes of a column
            for box in result.boxes.values():
                assert box.x != x or to != box.x + WIDTH or not box.y < y < box.y + HEIGHT


def lawful_downwards(result: Layout, pairs: Pairs) -> None:
    """The same laws with the axes exchanged, for boxes that keep their size."""
    for a, b in combinations(result.boxes.values(), 2):
        assert a.y != b.y or abs(a.x - b.x) >= WIDTH + ROW_GAP - 1e-6
    assert {(line.edge.source, line.edge.target) for line in result.lines} == set(pairs)
    for box in result.boxes.values():
        assert -1e-6 <= box.x <= result.width - WIDTH + 1e-6
        assert -1e-6 <= box.y <= result.height - HEIGHT + 1e-6
    for line in result.lines:
        ends = result.boxes[line.edge.source], result.boxes[line.edge.target]
        ys = [y for _, y in line.points]
        assert ys == sorted(ys) and len(set(ys)) == len(ys)
        assert ys[0] == ends[0].y + HEIGHT and ys[-1] == ends[1].y
        assert ends[1].x < line.points[-1][0] < ends[1].x + WIDTH
        for (x, y), (then, to) in zip(line.points[1:-1:2], line.points[2:-1:2], strict=True):
            assert x == then  # upright beside the boxes of a row
            for box in result.boxes.values():
                assert box.y != y or to != box.y + HEIGHT or not box.x < x < box.x + WIDTH


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 18), st.data())
def test_the_laws_hold_for_any_graph(count: int, data: st.DataObject) -> None:
    names = [str(i) for i in range(count)]
    all_pairs = [(a, b) for a, b in combinations(names, 2)]
    pairs = (
        data.draw(st.lists(st.sampled_from(all_pairs), max_size=26, unique=True))
        if all_pairs
        else []
    )
    lawful(layout(names, edges(pairs)), pairs)
    lawful_downwards(layout(names, edges(pairs), downwards=True), pairs)


def test_nothing_at_all() -> None:
    result = layout([], [])
    assert result.boxes == {} and result.lines == ()
