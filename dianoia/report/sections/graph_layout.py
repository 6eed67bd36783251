"""Layout of a graph in columns or rows: every arrow points right or down, boxes do not touch, no line crosses a box.

In: names in an order in which every edge points from an earlier to a later one, and the edges. Out: a
`Layout` in pixels. Not here: how boxes and lines look (`recipe_graph.py`).

After Sugiyama (layered graph drawing):
1. Columns by the longest path from a source.
2. A long edge gets a lane in each column that it passes. All long edges of one source and flow share lanes.
3. The order within columns by the mean position of neighbours (barycentre heuristic), in several sweeps.
4. Heights near those of the neighbours, in that order.

The layout downwards is the one to the right with the axes exchanged, for boxes as long as they are otherwise high.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import combinations, pairwise

WIDTH, HEIGHT = 126, 58
"""Size of a box."""
COLUMN_GAP, ROW_GAP = 26, 16
"""Gap between columns, and between the boxes of one column."""
_LANE_HEIGHT = 6
_ORDER_SWEEPS = 12
_HEIGHT_STEPS, _SEPARATION_SWEEPS = 300, 6
_LINE_GAP = 11
"""Gap between two lines that end at one box."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes for a layout whose arrows point along the first axis."""

    length: int
    """Of a box, along the arrows."""
    breadth: int
    """Of a box, across the arrows."""
    gap: int
    """Between columns."""


_RIGHTWARDS = Sizes(WIDTH, HEIGHT, COLUMN_GAP)
_DOWNWARDS = Sizes(HEIGHT, WIDTH, 34)


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow; lines of one source and flow share their lanes."""

    source: str
    target: str
    flow: str


@dataclass(frozen=True, slots=True)
class Box:
    """The position of a node: its upper left corner."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """The path of an arrow from box to box through its lanes, as points of increasing x, or y if it points down."""

    edge: Edge
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions of all boxes and lines, and the size of the drawing."""

    boxes: Mapping[str, Box]
    lines: tuple[Line, ...]
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class _Item:
    """An item of a column: a box, or a lane of a source's edges of one flow."""

    name: str
    column: int
    height: int
    flow: str = ""
    """Flow of the edges of a lane; empty for a box."""

    @property
    def rail(self) -> "_Item":
        """The rail that all lanes of one source and flow share; a box is its own rail."""
        return _Item(self.name, -1, self.height, self.flow) if self.flow else self


Columns = list[list[_Item]]
Links = Mapping[_Item, Sequence[_Item]]
Gaps = Mapping[_Item, Mapping[_Item, float]]
"""Least distance between the middles of an item and each one above it, by item and the one above."""


def layout(names: Sequence[str], edges: Sequence[Edge], downwards: bool = False) -> Layout:
    """Return positions for all names and paths for all edges; arrows point right, or down.

    Raises:
        ValueError: an edge does not point from an earlier to a later name.
    """
    # A stage may use another in two ways of one flow; one arrow shows both.
    edges = list(dict.fromkeys(edges))
    sizes = _DOWNWARDS if downwards else _RIGHTWARDS
    columns_by_name = columns(names, edges)
    items = {name: _Item(name, columns_by_name[name], sizes.breadth) for name in names}
    routes = {edge: _route(edge, items) for edge in edges}
    ordered = _order(list(items.values()), routes)
    middles = _heights(ordered, _links(routes))
    # The highest item touches the upper edge of the drawing.
    top = min((middles[i] - i.height / 2 for column in ordered for i in column), default=0.0)
    middles = {item: middle - top for item, middle in middles.items()}
    bottom = max((middle + item.height / 2 for item, middle in middles.items()), default=0.0)
    boxes = {
        name: Box(_left(item, sizes), middles[item] - sizes.breadth / 2)
        for name, item in items.items()
    }
    lines = tuple(Line(edge, points) for edge, points in _lines(routes, middles, sizes).items())
    width = len(ordered) * (sizes.length + sizes.gap) - sizes.gap
    result = Layout(boxes, lines, width, bottom)
    return _transposed(result) if downwards else result


def _transposed(rightwards: Layout) -> Layout:
    """Exchange the axes."""
    boxes = {name: Box(box.y, box.x) for name, box in rightwards.boxes.items()}
    lines = tuple(
        Line(line.edge, tuple((y, x) for x, y in line.points)) for line in rightwards.lines
    )
    return Layout(boxes, lines, rightwards.height, rightwards.width)


def columns(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Return the column of each name: the length of the longest path that leads to it.

    A name without incoming edges moves right, to just before the first name that it points to.

    Raises:
        ValueError: an edge does not point from an earlier to a later name.
    """
    position = {name: index for index, name in enumerate(names)}
    for edge in edges:
        if position[edge.source] >= position[edge.target]:
            raise ValueError(f"{edge.source} -> {edge.target} does not point to a later name")
    # Names come in topological order, so the columns of all sources are known.
    column: dict[str, int] = {}
    for name in names:
        column[name] = max((column[e.source] + 1 for e in edges if e.target == name), default=0)
    # Second pass: inputs stand next to their first use, not all at the left edge.
    targets = {edge.target for edge in edges}
    for name in names:
        target_columns = [column[edge.target] for edge in edges if edge.source == name]
        if name not in targets and target_columns:
            column[name] = min(target_columns) - 1
    return column


def _route(edge: Edge, boxes: Mapping[str, _Item]) -> list[_Item]:
    """Return the items that an edge passes: box, lanes, box."""
    source, target = boxes[edge.source], boxes[edge.target]
    between = range(source.column + 1, target.column)
    lanes = [_Item(edge.source, column, _LANE_HEIGHT, edge.flow) for column in between]
    return [source, *lanes, target]


def _links(routes: Mapping[Edge, Sequence[_Item]]) -> dict[_Item, list[_Item]]:
    """Return the neighbours of each item, on both sides."""
    links: dict[_Item, list[_Item]] = {}
    for a, b in dict.fromkeys(pair for route in routes.values() for pair in pairwise(route)):
        links.setdefault(a, []).append(b)
        links.setdefault(b, []).append(a)
    return links


def _order(items: Sequence[_Item], routes: Mapping[Edge, Sequence[_Item]]) -> Columns:
    """Order each column from top to bottom, with the fewest crossings that the sweeps find."""
    all_items = dict.fromkeys([*items, *(item for route in routes.values() for item in route)])
    # Columns in between that hold only lanes count too.
    count = 1 + max((item.column for item in all_items), default=-1)
    current: Columns = [[i for i in all_items if i.column == index] for index in range(count)]
    # Sweeps alternate between rightwards and leftwards. Not every sweep improves, so the best is kept.
    links, best = _links(routes), current
    for sweep in range(_ORDER_SWEEPS):
        current = _swept(current, links, rightwards=sweep % 2 == 0)
        if crossings(current, links) < crossings(best, links):
            best = current
    return best


def _swept(before: Columns, links: Links, rightwards: bool) -> Columns:
    """Sort every column by the mean position of its neighbours in the column sorted before it."""
    after = [list(column) for column in before]
    order = range(1, len(after)) if rightwards else range(len(after) - 2, -1, -1)
    for index in order:
        sorted_before = after[index - 1 if rightwards else index + 1]
        # Positions are relative, 0 at the top and 1 at the bottom, since columns differ in length.
        neighbours = _relative_positions(sorted_before)
        current = _relative_positions(after[index])
        key = {
            item: _mean([neighbours[n] for n in links.get(item, ()) if n in neighbours], position)
            for item, position in current.items()
        }
        after[index].sort(key=key.__getitem__)
    return after


def _relative_positions(column: Sequence[_Item]) -> dict[_Item, float]:
    return {item: index / max(1, len(column) - 1) for index, item in enumerate(column)}


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def crossings(ordered: Columns, links: Links) -> int:
    """Count the crossings of lines between neighbouring columns."""
    count = 0
    for left_column, right_column in pairwise(ordered):
        position = {item: index for index, item in enumerate(right_column)}
        ends = [
            (index, position[neighbour])
            for index, item in enumerate(left_column)
            for neighbour in links.get(item, ())
            if neighbour in position
        ]
        # Two lines cross if their order on the left is the reverse of that on the right.
        count += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(ends, 2))
    return count


def _heights(ordered: Columns, links: Links) -> dict[_Item, float]:
    """Return the middle of every item: near its neighbours, in order, with gaps between.

    All lanes of one source and flow get one height, so that long lines are straight. If lanes change their
    order from column to column, that is impossible, and each lane gets a height of its own.
    """
    # Lanes of one rail are separate items for the order, and one item for the height.
    rails = {item: item.rail for column in ordered for item in column}
    try:
        return _settle(ordered, links, rails)
    except CycleError:
        return _settle(ordered, links, {item: item for item in rails})


def _settle(ordered: Columns, links: Links, rails: Mapping[_Item, _Item]) -> dict[_Item, float]:
    """Return heights of rails: every line pulls its ends together, and rails that are too close are separated.

    Both act on the two sides alike, so that nothing drifts and the heights converge.
    """
    gaps: dict[_Item, dict[_Item, float]] = {rail: {} for rail in rails.values()}
    for a, b in (pair for column in ordered for pair in pairwise(column)):
        gaps[rails[b]][rails[a]] = (a.height + b.height) / 2 + ROW_GAP
    # Raises CycleError if lanes of one rail are above a box in one column and below it in another.
    order = list(TopologicalSorter(gaps).static_order())
    pairs = [
        (rails[a], rails[b])
        for a, neighbours in links.items()
        for b in neighbours
        if rails[a] != rails[b]
    ]
    # The number of lines at the busiest rail.
    degree = max((sum(a == rail for a, _ in pairs) for rail in order), default=1)
    heights = _with_exact_gaps(dict.fromkeys(order, 0.0), order, gaps)
    for _ in range(_HEIGHT_STEPS):
        pulled = dict(heights)
        # Half a step divided by the largest degree: larger ones would oscillate.
        for a, b in pairs:
            pulled[a] += (heights[b] - heights[a]) / (2 * degree)
        heights = _separated(pulled, order, gaps)
    heights = _with_exact_gaps(heights, order, gaps)
    return {item: heights[rail] for item, rail in rails.items()}


def _separated(
    heights: dict[_Item, float], order: Sequence[_Item], gaps: Gaps
) -> dict[_Item, float]:
    """Move rails that are too close apart, each by half of what is missing, in a few sweeps."""
    for _ in range(_SEPARATION_SWEEPS):
        for rail in order:
            for above, gap in gaps[rail].items():
                missing = heights[above] + gap - heights[rail]
                if missing > 0:
                    heights[above] -= missing / 2
                    heights[rail] += missing / 2
    return heights


def _with_exact_gaps(
    heights: Mapping[_Item, float], order: Sequence[_Item], gaps: Gaps
) -> dict[_Item, float]:
    """Return heights near the given ones that keep every gap exactly.

    Moving everything down as far as necessary keeps the gaps, and so does moving everything up. As the
    constraints are linear, the mean of the two keeps them as well.
    """
    # `order` is topological: everything above a rail is settled before it, downwards; upwards in reverse.
    down, up = dict(heights), dict(heights)
    for rail in order:
        down[rail] = max([down[rail], *(down[above] + gap for above, gap in gaps[rail].items())])
    for rail in reversed(order):
        for above, gap in gaps[rail].items():
            up[above] = min(up[above], up[rail] - gap)
    return {rail: (down[rail] + up[rail]) / 2 for rail in order}


def _left(item: _Item, sizes: Sizes) -> float:
    return item.column * (sizes.length + sizes.gap)


def _lines(
    routes: Mapping[Edge, Sequence[_Item]], middles: Mapping[_Item, float], sizes: Sizes
) -> dict[Edge, tuple[Point, ...]]:
    """Return the points of every line: it leaves its box on the right and is level along each lane."""
    lines = {}
    for edge, route in routes.items():
        points: list[Point] = [(_left(route[0], sizes) + sizes.length, middles[route[0]])]
        for lane in route[1:-1]:
            left_edge = _left(lane, sizes)
            points += [(left_edge, middles[lane]), (left_edge + sizes.length, middles[lane])]
        # Lines of one rail end in the same point, where they are already one line.
        incoming = [other[-2] for e, other in routes.items() if e.target == edge.target]
        offset = _end_offset(route[-2], incoming, middles, sizes.breadth)
        lines[edge] = (*points, (_left(route[-1], sizes), middles[route[-1]] + offset))
    return lines


def _end_offset(
    item: _Item, incoming: Sequence[_Item], middles: Mapping[_Item, float], breadth: int
) -> float:
    """Return how far from a box's middle the line from `item` ends.

    Lines end one below the other, in the order of the heights they come from.
    """
    ends = sorted(dict.fromkeys(incoming), key=lambda end: (middles[end], end.name, end.flow))
    gap = min(_LINE_GAP, (breadth - 2 * _LINE_GAP) / max(1, len(ends) - 1))
    return (ends.index(item) - (len(ends) - 1) / 2) * gap
