"""The recipe as a picture: which model starts from which, and which data comes from which.

In: a `Run`. Out: an SVG, inline, whose boxes lead to the sections of their stages. Models are boxes, data sets
are round, reward models are dashed. Evaluate stages are not drawn: what they found stands in the boxes.
A reference is any text of a stage's table that is the name of an earlier stage, so that a kind of stage that
this page has never seen has its arrows too. Left out: places, see `layers`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dianoia.report.html_values import amount, anchor, escape, missing, paragraph
from dianoia.report.run_reader import Run, Stage, number
from dianoia.report.sections.graph_layout import HEIGHT, WIDTH, Edge, Layout, Line, layout

_NO_NAMES = frozenset(
    {"kind", "name", "template", "problems", "safety_problems", "corpus", "objective", "sees", "final",
     "split", "schedule", "autocast", "rewriter", "longer", "earlier_thoughts", "kl_in", "kl_estimator"}
)  # fmt: skip
"""Keys whose texts are never the name of a stage, even where they are spelt like one."""
_DATA_KEYS = frozenset({"path", "data", "evaluation_file"})
"""Keys whose texts are files where they are no stages."""
_MODEL_KINDS = ("rl", "sft", "pretrain")
_GOING_ON = ("rl", "sft", "reward_model")
"""Kinds of stages that go on from the weights of what they start from."""
_MARGIN = 3
_SMALLEST = 0.75
"""The picture shrinks to this to fit the page, then scrolls."""
_LOOSE = 17
"""Longer names are set as wide as the box, whatever the reader's font."""
_LETTERS = (15, 22)
"""Letters of a name that fit into a box, in large type and in small."""


@dataclass(frozen=True, slots=True)
class Node:
    """A model, a data set or a reward model."""

    name: str
    shape: str
    """model, data or judge."""
    told: str
    """What made it, in a line."""
    result: str
    """What was measured, in a line; may be empty."""
    state: str
    """done, begun, ahead or given."""
    help_: str
    """The whole story, on hover."""


def nodes_and_edges(run: Run) -> tuple[list[Node], list[Edge]]:
    """Nodes in an order in which every edge points to a later one."""
    stages = [stage for stage in run.stages if stage.kind != "evaluate"]
    names = {stage.name for stage in stages}
    given: dict[str, Node] = {}
    made, edges = [], []
    for stage in stages:
        for key, text in references(stage.settings):
            source = text if text in names else _outside(key, text)
            if source is None or source == stage.name or source in _later(stage.name, stages):
                continue
            if source not in names:
                given.setdefault(source, _given(run, source, key))
            edges.append(Edge(source, stage.name, _flow(source, stage, run, key)))
        made.append(_made(run, stage))
    return [*given.values(), *made], list(dict.fromkeys(edges))


def references(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, text) of everything in a stage's table that may name a checkpoint or a data set."""
    for key, value in table.items():
        if key in _NO_NAMES:
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield from references(one)
            elif isinstance(one, str):
                yield key, one


def _later(name: str, stages: list[Stage]) -> set[str]:
    names = [stage.name for stage in stages]
    return set(names[names.index(name) :])


def _outside(key: str, text: str) -> str | None:
    """What the recipe is given: a start or a file. Other texts are settings."""
    return text if key == "start" or key in _DATA_KEYS else None


def _flow(source: str, stage: Stage, run: Run, key: str) -> str:
    """Weights that a stage goes on from, data that it learns from or makes, or a judge of its samples."""
    if _kind(run, source) == "reward_model":
        return "judge"
    if _kind(run, source) is None:
        return "data" if key in _DATA_KEYS else _weights(stage)
    return _weights(stage) if _kind(run, source) in _MODEL_KINDS else "data"


def _weights(stage: Stage) -> str:
    return "weights" if stage.kind in _GOING_ON else "data"


def _kind(run: Run, name: str) -> str | None:
    return next((stage.kind for stage in run.stages if stage.name == name), None)


def _result(run: Run, name: str) -> str:
    """Accuracy in a line: of reasoning where it was measured, else of the first domain."""
    domains = run.measured.get(name, {})
    domain = "reasoning" if "reasoning" in domains else next(iter(domains), "")
    found = domains.get(domain, {}).get("pass@1")
    return f"{domain} {amount('pass@1', found.value)}" if found else ""


def _given(run: Run, name: str, key: str) -> Node:
    data = key in _DATA_KEYS
    told = "a file" if data else "given"
    return Node(name, "data" if data else "model", told, _result(run, name), "given", name)


def _made(run: Run, stage: Stage) -> Node:
    shape = (
        "judge"
        if stage.kind == "reward_model"
        else "model"
        if stage.kind in _MODEL_KINDS
        else "data"
    )
    state = "done" if stage.done else "begun" if stage.started else "ahead"
    told = _told(stage) if state != "ahead" else f"{_told(stage)}, to do"
    return Node(stage.name, shape, told, _measured(run, stage), state, f"{stage.name}: {told}")


def _told(stage: Stage) -> str:
    steps, epochs = number(stage.settings.get("steps")), number(stage.settings.get("epochs"))
    match stage.kind:
        case "rl":
            algorithm = stage.settings.get("algorithm") or {}
            name = str(algorithm.get("name", "grpo")).upper().replace("_", " ")
            return f"{name}, {steps:,.0f} steps" if steps else name
        case "sft":
            return f"SFT, {epochs:g} epoch{'' if epochs == 1 else 's'}" if epochs else "SFT"
        case "pretrain":
            tokens = number(stage.settings.get("tokens"))
            return f"pretrained, {tokens / 1e6:.3g} M" if tokens else "pretrained"
        case "reward_model":
            return "reward model"
        case "sample":
            return "samples"
        case kind:
            return kind


def _measured(run: Run, stage: Stage) -> str:
    kept = number(stage.sampling.get("kept"))
    return f"{kept:,.0f} kept" if kept is not None else _result(run, stage.name)


# Drawing -----------------------------------------------------------------------------------------


def section(run: Run) -> str:
    """The picture with its key; what is said where there is nothing to draw."""
    nodes, edges = nodes_and_edges(run)
    if not edges:
        return missing("No stage of this recipe starts from another, so there is no graph to draw.")
    found = " Percentages: held-out pass@1." if run.evaluations else ""
    return (
        f'<figure class="graph wide" tabindex="0">{draw(nodes, layout([n.name for n in nodes], edges))}'
        f"</figure>{_key(nodes, edges)}"
        + paragraph(f"Each box leads to what its stage has left on this page.{found}", "dim")
    )


def draw(nodes: list[Node], places: Layout) -> str:
    """The SVG."""
    width, height = places.width + 2 * _MARGIN, places.height + 2 * _MARGIN
    lines = "".join(_line(line) for line in places.lines)
    boxes = "".join(_box(node, places) for node in nodes)
    return (
        f'<svg viewBox="{-_MARGIN} {-_MARGIN} {width:g} {height:g}" style="max-width:{width:g}px;min-width:'
        f'{_SMALLEST * width:.0f}px" role="img" aria-label="The recipe as a graph of stages"><defs>{_heads()}</defs>{lines}{boxes}</svg>'
    )


def _heads() -> str:
    return "".join(
        f'<marker id="head-{kind}" viewBox="0 0 8 8" refX="7.4" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="head {kind}" d="M0 .6 8 4 0 7.4z"/></marker>'
        for kind in ("weights", "data", "judge")
    )


def _line(line: Line) -> str:
    (x, y), *rest = line.points
    path = f"M{x:g} {y:.1f}"
    for px, py in rest:
        middle = (x + px) / 2
        path += (
            f"H{px:g}"
            if abs(py - y) < 0.05
            else f"C{middle:g} {y:.1f} {middle:g} {py:.1f} {px:g} {py:.1f}"
        )
        x, y = px, py
    kind = line.edge.kind
    told = f"{escape(line.edge.source)} to {escape(line.edge.target)}"
    return f'<path class="edge {kind}" d="{path}" marker-end="url(#head-{kind})"><title>{told}</title></path>'


def _box(node: Node, places: Layout) -> str:
    at = places.boxes[node.name]
    round_ = HEIGHT / 2 if node.shape == "data" else 4
    lines = [line for line in (node.told, node.result) if line]
    first = at.y + HEIGHT / 2 - 8 * len(lines) + 4
    texts = "".join(
        f'<text class="{"result" if line == node.result else "told"}" x="{at.x + WIDTH / 2:g}" '
        f'y="{first + 16 * (i + 1):.1f}">{escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    drawn = (
        f'<g class="node {node.shape} {node.state}"><title>{escape(node.help_)}</title>'
        f'<rect x="{at.x:g}" y="{at.y:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="{round_:g}"/>'
        f"{_name(node, at.x + WIDTH / 2, first)}{texts}</g>"
    )
    return drawn if node.state == "given" else f'<a href="#{anchor(node.name)}">{drawn}</a>'


def _name(node: Node, x: float, y: float) -> str:
    name, (large, most) = node.name, _LETTERS
    large -= 3 if node.shape == "data" else 0  # round ends leave less room
    half = most // 2
    shown = name if len(name) <= most else f"{name[: half - 1]}…{name[-half:]}"
    size = "name" if len(name) <= large else "name small"
    fit = (
        f' textLength="{WIDTH - 12}" lengthAdjust="spacingAndGlyphs"' if len(shown) > _LOOSE else ""
    )
    return f'<text class="{size}" x="{x:g}" y="{y:.1f}"{fit}>{escape(shown)}</text>'


_FLOWS = {
    "weights": "goes on from these weights",
    "data": "data: sampled from, or learnt by",
    "judge": "a reward model judges the samples",
}
_SHAPES = {"model": "model", "data": "data set", "judge": "reward model"}


def _key(nodes: list[Node], edges: list[Edge]) -> str:
    """What shapes and lines mean, as far as they occur."""
    shapes = [shape for shape in _SHAPES if any(node.shape == shape for node in nodes)]
    flows = [flow for flow in _FLOWS if any(edge.kind == flow for edge in edges)]
    told = [f'<li><i class="shape {shape}"></i>{_SHAPES[shape]}</li>' for shape in shapes]
    told += [f'<li><i class="flow {flow}"></i>{_FLOWS[flow]}</li>' for flow in flows]
    return f'<ul class="legend">{"".join(told)}</ul>'
