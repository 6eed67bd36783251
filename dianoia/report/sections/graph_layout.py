"""Lays a graph out in columns: every arrow goes right, no two boxes touch, and no line crosses a box.

In: names in an order in which every edge points from an earlier to a later one, and the edges. Out: a
`Layout` in pixels. After Sugiyama: columns by the longest way from a beginning; a long edge gets a lane in each
column that it passes, which all long edges of one source and kind share; orders by the mean place of neighbours; then heights
near those of neighbours, under the order. Left out: how boxes and lines look.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import combinations, pairwise

WIDTH, HEIGHT = 136, 58
"""Of a box."""
ACROSS, DOWN = 38, 16
"""Between columns, and between boxes of one column."""
_LANE = 6
_SWEEPS = 12
_SETTLING, _PUSHES = 300, 6
_PORT = 11
"""Between two lines that end at one box."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow; lines of one source and kind share their lanes."""

    source: str
    target: str
    kind: str


@dataclass(frozen=True, slots=True)
class Box:
    """Where a node is: its upper left corner."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """An arrow's way: from box to box through its lanes, in points of growing x."""

    edge: Edge
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole picture."""

    boxes: Mapping[str, Box]
    lines: tuple[Line, ...]
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class _Item:
    """What takes a place in a column: a box, or a lane of a source's edges of one kind."""

    name: str
    column: int
    kind: str = ""
    """Empty for a box."""

    @property
    def height(self) -> int:
        return _LANE if self.kind else HEIGHT

    @property
    def rail(self) -> "_Item":
        """What all lanes of a source and kind share; of a box, itself."""
        return _Item(self.name, -1, self.kind) if self.kind else self


Columns = list[list[_Item]]
Links = Mapping[_Item, Sequence[_Item]]
Rooms = Mapping[_Item, Mapping[_Item, float]]
"""By item and the one above it: how far apart their middles have to be at least."""


def layout(names: Sequence[str], edges: Sequence[Edge]) -> Layout:
    """Places for all names and ways for all edges.

    Raises:
        ValueError: an edge does not point from an earlier to a later name.
    """
    edges = list(dict.fromkeys(edges))
    columns_by_name = columns(names, edges)
    ways = {edge: _way(edge, columns_by_name) for edge in edges}
    items = [_Item(name, columns_by_name[name]) for name in names]
    ordered = _order(items, ways)
    middles = _heights(ordered, _links(ways))
    top = min((middles[i] - i.height / 2 for column in ordered for i in column), default=0.0)
    middles = {item: middle - top for item, middle in middles.items()}
    bottom = max((middle + item.height / 2 for item, middle in middles.items()), default=0.0)
    boxes = {i.name: Box(_left(i), middles[i] - HEIGHT / 2) for i in items}
    lines = tuple(Line(edge, points) for edge, points in _lines(ways, middles).items())
    return Layout(boxes, lines, len(ordered) * (WIDTH + ACROSS) - ACROSS, bottom)


def columns(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The longest way from a beginning; what nothing leads to stands just before its first reader."""
    place = {name: index for index, name in enumerate(names)}
    for edge in edges:
        if place[edge.source] >= place[edge.target]:
            raise ValueError(f"{edge.source} -> {edge.target} does not point to a later name")
    found: dict[str, int] = {}
    for name in names:
        found[name] = max((found[e.source] + 1 for e in edges if e.target == name), default=0)
    targets = {edge.target for edge in edges}
    for name in names:
        readers = [found[edge.target] for edge in edges if edge.source == name]
        if name not in targets and readers:
            found[name] = min(readers) - 1
    return found


def _way(edge: Edge, column: Mapping[str, int]) -> list[_Item]:
    """Box, lanes, box."""
    first, last = column[edge.source], column[edge.target]
    lanes = [_Item(edge.source, at, edge.kind) for at in range(first + 1, last)]
    return [_Item(edge.source, first), *lanes, _Item(edge.target, last)]


def _links(ways: Mapping[Edge, Sequence[_Item]]) -> dict[_Item, list[_Item]]:
    """Neighbours on either side."""
    links: dict[_Item, list[_Item]] = {}
    for a, b in dict.fromkeys(pair for way in ways.values() for pair in pairwise(way)):
        links.setdefault(a, []).append(b)
        links.setdefault(b, []).append(a)
    return links


def _order(items: Sequence[_Item], ways: Mapping[Edge, Sequence[_Item]]) -> Columns:
    """Columns from top to bottom, with the fewest crossings that sweeps by neighbours find."""
    every = dict.fromkeys([*items, *(item for way in ways.values() for item in way)])
    count = 1 + max((item.column for item in every), default=-1)
    now: Columns = [[item for item in every if item.column == at] for at in range(count)]
    links, best = _links(ways), now
    for sweep in range(_SWEEPS):
        now = _swept(now, links, rightwards=sweep % 2 == 0)
        if crossings(now, links) < crossings(best, links):
            best = now
    return best


def _swept(before: Columns, links: Links, rightwards: bool) -> Columns:
    """Every column sorted by the mean place of its neighbours in the one that was sorted before it."""
    now = [list(column) for column in before]
    order = range(1, len(now)) if rightwards else range(len(now) - 2, -1, -1)
    for at in order:
        beside = now[at - 1 if rightwards else at + 1]
        place = {item: index / max(1, len(beside) - 1) for index, item in enumerate(beside)}
        own = {item: index / max(1, len(now[at]) - 1) for index, item in enumerate(now[at])}
        wanted = {
            item: _mean([place[n] for n in links.get(item, ()) if n in place], own[item])
            for item in own
        }
        now[at].sort(key=wanted.__getitem__)
    return now


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def crossings(ordered: Columns, links: Links) -> int:
    """How often lines between neighbouring columns cross."""
    count = 0
    for left, right in pairwise(ordered):
        place = {item: index for index, item in enumerate(right)}
        ends = [
            (i, place[n]) for i, item in enumerate(left) for n in links.get(item, ()) if n in place
        ]
        count += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(ends, 2))
    return count


def _heights(ordered: Columns, links: Links) -> dict[_Item, float]:
    """The middle of every item: near its neighbours, in order, with room between.

    All lanes of one source and kind get one height, so that long lines are straight, unless lanes change
    places from column to column; then each is on its own.
    """
    straight = {item: item.rail for column in ordered for item in column}
    try:
        return _settle(ordered, links, straight)
    except CycleError:
        return _settle(ordered, links, {item: item for item in straight})


def _settle(ordered: Columns, links: Links, rail: Mapping[_Item, _Item]) -> dict[_Item, float]:
    """Heights of rails: every line pulls its two ends together, and what comes too close is pushed apart.

    Pulls and pushes act on both sides alike, so that nothing drifts and the whole comes to rest.
    """
    rooms: dict[_Item, dict[_Item, float]] = {one: {} for one in rail.values()}
    for a, b in (pair for column in ordered for pair in pairwise(column)):
        rooms[rail[b]][rail[a]] = (a.height + b.height) / 2 + DOWN
    order = list(TopologicalSorter(rooms).static_order())
    pairs = [
        (rail[a], rail[b]) for a, others in links.items() for b in others if rail[a] != rail[b]
    ]
    degree = max((sum(a == one for a, _ in pairs) for one in order), default=1)
    heights = _in_order(dict.fromkeys(order, 0.0), order, rooms)
    for _ in range(_SETTLING):
        pulled = dict(heights)
        for a, b in pairs:
            pulled[a] += (heights[b] - heights[a]) / (2 * degree)
        heights = _pushed(pulled, order, rooms)
    heights = _in_order(heights, order, rooms)
    return {item: heights[one] for item, one in rail.items()}


def _pushed(
    heights: dict[_Item, float], order: Sequence[_Item], rooms: Rooms
) -> dict[_Item, float]:
    """What is too close moves apart, each by half of what is missing, a few times over."""
    for _ in range(_PUSHES):
        for one in order:
            for above, room in rooms[one].items():
                missing = heights[above] + room - heights[one]
                if missing > 0:
                    heights[above] -= missing / 2
                    heights[one] += missing / 2
    return heights


def _in_order(
    wanted: Mapping[_Item, float], order: Sequence[_Item], rooms: Rooms
) -> dict[_Item, float]:
    """Heights near the wanted ones that keep every room exactly.

    Pushing everything down as far as it must go keeps them, and so does pushing everything up; their mean,
    as the constraints are linear, does too.
    """
    down, up = dict(wanted), dict(wanted)
    for one in order:
        down[one] = max([down[one], *(down[above] + room for above, room in rooms[one].items())])
    for one in reversed(order):
        for above, room in rooms[one].items():
            up[above] = min(up[above], up[one] - room)
    return {one: (down[one] + up[one]) / 2 for one in order}


def _left(item: _Item) -> float:
    return item.column * (WIDTH + ACROSS)


def _lines(
    ways: Mapping[Edge, Sequence[_Item]], middles: Mapping[_Item, float]
) -> dict[Edge, tuple[Point, ...]]:
    """Points of every line."""
    lines = {}
    for edge, way in ways.items():
        points: list[Point] = [(_left(way[0]) + WIDTH, middles[way[0]])]
        for lane in way[1:-1]:
            points += [(_left(lane), middles[lane]), (_left(lane) + WIDTH, middles[lane])]
        last = [other[-2] for e, other in ways.items() if e.target == edge.target]
        port = _port(way[-2], last, middles)
        lines[edge] = (*points, (_left(way[-1]), middles[way[-1]] + port))
    return lines


def _port(item: _Item, last: Sequence[_Item], middles: Mapping[_Item, float]) -> float:
    """Lines that end at one box end one below the other, as they come; how far from its middle this one does."""
    ends = sorted(dict.fromkeys(last), key=lambda one: (middles[one], one.name, one.kind))
    apart = min(_PORT, (HEIGHT - 2 * _PORT) / max(1, len(ends) - 1))
    return (ends.index(item) - (len(ends) - 1) / 2) * apart
