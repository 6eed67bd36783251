"""The recipe as a graph: which model starts from which, and which data comes from which.

In: a `Run`. Out: inline SVGs, one to the right and one downwards, whose boxes link to the sections of their stages, and
the same as a list, for phones. Models are boxes, data sets
are rounded, reward models are dashed. Evaluate stages are not drawn: their results are in the boxes. Any text in
a stage's table that is the name of an earlier stage is a reference to it, so that stages of an unknown kind
have arrows too. Not here: positions (`graph_layout.py`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dianoia.report.html_values import amount, anchor, escape, missing, paragraph
from dianoia.report.run_reader import Run, Stage, number
from dianoia.report.sections import stage_sentences
from dianoia.report.sections.graph_layout import HEIGHT, WIDTH, Edge, Layout, Line, layout
from dianoia.report.sections.summary import MAX_SENTENCES

_NOT_REFERENCES = frozenset(
    {"kind", "name", "template", "problems", "safety_problems", "corpus", "objective", "sees", "final",
     "split", "schedule", "autocast", "rewriter", "longer", "earlier_thoughts", "kl_in", "kl_estimator"}
)  # fmt: skip
"""Keys whose texts are never names of stages, even if they are spelt like one."""
_DATA_KEYS = frozenset({"path", "data", "evaluation_file"})
"""Keys whose texts are files if they are no stages."""
_MODEL_KINDS = ("rl", "sft", "pretrain")
_TRAINING_KINDS = ("rl", "sft", "reward_model")
"""Kinds of stages that train the weights of the model they start from."""
_MARGIN = 3
_MIN_SCALE = 0.75
"""The graph shrinks to this scale to fit the page; beyond that it scrolls."""
_PAGE_WIDTH = 1184
"""Pixels that the widest page has for a graph."""
_MAX_LARGE, _MAX_SMALL = 14, 20
"""Characters of a name that fit into a box in large and in small type; a longer name is cut."""
_MAX_NATURAL = 16
"""A longer name is squeezed to the width of the box, whatever the reader's font."""
_MAX_LINE = 18
"""The same for the lines below the name."""


@dataclass(frozen=True, slots=True)
class Node:
    """A model, a data set or a reward model."""

    name: str
    shape: str
    """"model", "data" or "reward"."""
    origin: str
    """What made it, in a line."""
    result: str
    """A result, in a line; may be empty."""
    state: str
    """"done", "started", "planned", or "given" if no stage makes it."""
    tooltip: str
    """The text shown on hover."""


def nodes_and_edges(run: Run) -> tuple[list[Node], list[Edge]]:
    """Return nodes, in an order in which every edge points to a later one, and edges without repetitions."""
    # A recipe lists every stage after those it uses, so one pass is enough.
    stages = [stage for stage in run.stages if stage.kind != "evaluate"]
    names = {stage.name for stage in stages}
    inputs: dict[str, Node] = {}
    outputs, edges = [], []
    for stage in stages:
        for key, text in references(stage.settings):
            source = text if text in names else _input(key, text)
            # A text that equals the name of a later stage is no reference: stages only use earlier ones.
            if source is None or source == stage.name or source in _later(stage.name, stages):
                continue
            if source not in names:
                inputs.setdefault(source, _input_node(run, source, key))
            edges.append(Edge(source, stage.name, _flow(source, stage, run, key)))
        outputs.append(_stage_node(run, stage))
    return [*inputs.values(), *outputs], list(dict.fromkeys(edges))


def references(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, text) of everything in a stage's table that may name a checkpoint or a data set."""
    for key, value in table.items():
        # Nested tables and lists are searched too, since data sets are lists of tables.
        if key in _NOT_REFERENCES:
            continue
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, dict):
                yield from references(entry)
            elif isinstance(entry, str):
                yield key, entry


def _later(name: str, stages: list[Stage]) -> set[str]:
    names = [stage.name for stage in stages]
    return set(names[names.index(name) :])


def _input(key: str, text: str) -> str | None:
    """Return a text that names a model or a file from outside the recipe, None for a mere setting."""
    return text if key == "start" or key in _DATA_KEYS else None


def _flow(source: str, stage: Stage, run: Run, key: str) -> str:
    """Return what goes from `source` to the stage: "weights", "data" or "reward"."""
    source_kind = _kind(run, source)
    if source_kind == "reward_model":
        return "reward"
    is_model = source_kind in _MODEL_KINDS or (source_kind is None and key not in _DATA_KEYS)
    # A stage that only samples a model takes its samples, not its weights.
    return "weights" if is_model and stage.kind in _TRAINING_KINDS else "data"


def _kind(run: Run, name: str) -> str | None:
    return next((stage.kind for stage in run.stages if stage.name == name), None)


def _result(run: Run, name: str) -> str:
    """Return accuracy in a line: the mean over reasoning if it was measured, else the first domain's."""
    domains = run.all_metrics.get(name, {})
    domain = "reasoning" if "reasoning" in domains else next(iter(domains), "")
    accuracy = domains.get(domain, {}).get("pass@1")
    return f"{domain} {amount('pass@1', accuracy.value)}" if accuracy else ""


def _input_node(run: Run, name: str, key: str) -> Node:
    # What the recipe is given has no stage, hence no link and no state.
    is_data = key in _DATA_KEYS
    shape, origin = ("data", "file") if is_data else ("model", "starting model")
    return Node(name, shape, origin, _result(run, name), "given", name)


def _stage_node(run: Run, stage: Stage) -> Node:
    shape = "model" if stage.kind in _MODEL_KINDS else "data"
    if stage.kind == "reward_model":
        shape = "reward"
    state = "done" if stage.done else "started" if stage.started else "planned"
    note = ", to do" if state == "planned" else ", failed" if stage.failure else ""
    origin = _method(stage) + note
    # A data set has no accuracy: it shows its size.
    accepted = number(stage.sampling.get("kept"))
    result = f"{accepted:,.0f} kept" if accepted is not None else _result(run, stage.name)
    return Node(stage.name, shape, origin, result, state, f"{stage.name}: {origin}")


def _method(stage: Stage) -> str:
    """Return how a stage works, in a few words."""
    steps, epochs = number(stage.settings.get("steps")), number(stage.settings.get("epochs"))
    match stage.kind:
        case "rl":
            # Settings are those of recipe.json, with all defaults, but a damaged run may lack any.
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


# Drawing


def section(run: Run) -> str:
    """Return the graph with its legend, and the stages in sentences unless the summary has them."""
    graph = _graph(run)
    if len(run.stages) <= MAX_SENTENCES:
        return graph
    sentences = stage_sentences.sentences(run)
    return f"{graph}<details><summary>The stages in words</summary>{sentences}</details>"


def _graph(run: Run) -> str:
    # Inputs come before stages, so every edge points forwards, as the layout requires.
    nodes, edges = nodes_and_edges(run)
    if not edges:
        return missing("No stage of this recipe uses the result of another, so there is no graph.")
    note = " Percentages are held-out pass@1." if run.evaluations else ""
    return f"{_drawings(nodes, edges)}{_steps(nodes, edges)}{_legend(nodes, edges)}" + paragraph(
        f"Choose a box to see the results of its stage.{note}", "dim"
    )


def _drawings(nodes: list[Node], edges: list[Edge]) -> str:
    """Return the graph from left to right, unless no page has the width for it, and the graph downwards.

    The style sheet shows the one that fits the window, and on a phone the list of `_steps` instead.
    """
    names = [node.name for node in nodes]
    across, down = layout(names, edges), layout(names, edges, downwards=True)
    # Shrunk further, its texts would be too small to read.
    fits = _MIN_SCALE * across.width <= _PAGE_WIDTH
    figures = [(across, "across")] if fits else []
    figures.append((down, "down" if fits else "down only"))
    return "".join(
        f'<figure class="graph wide {css_class}" tabindex="0">{draw(nodes, positions, css_class[:4])}</figure>'
        for positions, css_class in figures
    )


def _steps(nodes: list[Node], edges: list[Edge]) -> str:
    """Return the graph as a list: every node with what it is made from."""
    items = []
    for node in nodes:
        sources = [edge.source for edge in edges if edge.target == node.name]
        name = f"<b>{escape(node.name)}</b>"
        if node.state != "given":
            name = f'<a href="#{anchor(node.name)}">{name}</a>'
        origin = f" from {escape(', '.join(dict.fromkeys(sources)))}" if sources else ""
        result = f" · {escape(node.result)}" if node.result else ""
        items.append(
            f'<li class="{node.shape}">{name}<span>{escape(node.origin)}{origin}{result}</span></li>'
        )
    return f'<ol class="graph-list">{"".join(items)}</ol>'


def draw(nodes: list[Node], positions: Layout, name: str = "across") -> str:
    """Return the SVG; `name` is "across" for a graph from left to right and "down" for one downwards."""
    width, height = positions.width + 2 * _MARGIN, positions.height + 2 * _MARGIN
    downwards = name == "down"
    lines = "".join(_line(line, name, downwards) for line in positions.lines)
    boxes = "".join(_box(node, positions) for node in nodes)
    return (
        f'<svg viewBox="{-_MARGIN} {-_MARGIN} {width:g} {height:g}" style="max-width:{width:g}px;min-width:'
        f'{min(_MIN_SCALE * width, _PAGE_WIDTH):.0f}px" role="group" aria-label="The recipe as a graph of stages">'
        f"<defs>{_arrow_heads(name)}</defs>{lines}{boxes}</svg>"
    )


# Markers cannot inherit the colour of their line, so each flow has its own; ids are unique on the page.
def _arrow_heads(name: str) -> str:
    return "".join(
        f'<marker id="head-{name}-{flow}" viewBox="0 0 8 8" refX="7.4" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="head {flow}" d="M0 .6 8 4 0 7.4z"/></marker>'
        for flow in ("weights", "data", "reward")
    )


def _line(line: Line, name: str, downwards: bool) -> str:
    """Draw an arrow: level pieces as straight lines, the others as S-shaped curves."""
    (x, y), *targets = line.points
    # M: move, L: straight line, C: cubic curve, whose control points are half-way, level on both sides.
    path = f"M{x:.1f} {y:.1f}"
    for target_x, target_y in targets:
        middle_x, middle_y = (x + target_x) / 2, (y + target_y) / 2
        bend = abs(target_x - x) if downwards else abs(target_y - y)
        controls = (
            f"{x:.1f} {middle_y:.1f} {target_x:.1f} {middle_y:.1f}"
            if downwards
            else f"{middle_x:.1f} {y:.1f} {middle_x:.1f} {target_y:.1f}"
        )
        path += f"{'L' if bend < 0.05 else f'C{controls} '}{target_x:.1f} {target_y:.1f}"
        x, y = target_x, target_y
    flow = line.edge.flow
    title = f"{escape(line.edge.source)} to {escape(line.edge.target)}"
    return f'<path class="edge {flow}" d="{path}" marker-end="url(#head-{name}-{flow})"><title>{title}</title></path>'


def _box(node: Node, positions: Layout) -> str:
    box = positions.boxes[node.name]
    radius = HEIGHT / 2 if node.shape == "data" else 4
    lines = [line for line in (node.origin, node.result) if line]
    # Name and lines are 16 px apart, and centred together.
    first_y = box.y + HEIGHT / 2 - 8 * len(lines) + 4
    texts = "".join(
        f'<text class="{"result" if line == node.result else "origin"}" x="{box.x + WIDTH / 2:g}" '
        f'y="{first_y + 16 * (i + 1):.1f}"{_fit(line, _MAX_LINE)}>{escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    group = (
        f'<g class="node {node.shape} {node.state}"><title>{escape(node.tooltip)}</title>'
        f'<rect x="{box.x:g}" y="{box.y:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="{radius:g}"/>'
        f"{_name(node, box.x + WIDTH / 2, first_y)}{texts}</g>"
    )
    return group if node.state == "given" else f'<a href="#{anchor(node.name)}">{group}</a>'


def _name(node: Node, x: float, y: float) -> str:
    """Draw the name of a node; one that is too long loses its middle."""
    name = node.name
    # Rounded ends leave less room.
    max_large = _MAX_LARGE - (3 if node.shape == "data" else 0)
    end = _MAX_SMALL // 2
    shown = name if len(name) <= _MAX_SMALL else f"{name[: end - 1]}…{name[-end:]}"
    size = "name" if len(name) <= max_large else "name small"
    return f'<text class="{size}" x="{x:g}" y="{y:.1f}"{_fit(shown, _MAX_NATURAL)}>{escape(shown)}</text>'


def _fit(text: str, limit: int) -> str:
    """Return the attributes that squeeze a text longer than `limit` characters into its box."""
    return (
        f' textLength="{WIDTH - 12}" lengthAdjust="spacingAndGlyphs"' if len(text) > limit else ""
    )


_FLOW_LABELS = {
    "weights": "training starts from these weights",
    "data": "data: samples of a model, or a data set to learn from",
    "reward": "scores the samples",
}
_SHAPE_LABELS = {"model": "model", "data": "data set", "reward": "reward model"}


def _legend(nodes: list[Node], edges: list[Edge]) -> str:
    """Explain the shapes and lines that occur."""
    shapes = [shape for shape in _SHAPE_LABELS if any(node.shape == shape for node in nodes)]
    flows = [flow for flow in _FLOW_LABELS if any(edge.flow == flow for edge in edges)]
    items = [
        f'<li><i class="shape {shape}"></i>{_SHAPE_LABELS[shape]}</li>' for shape in shapes
    ] + [f'<li><i class="flow {flow}"></i>{_FLOW_LABELS[flow]}</li>' for flow in flows]
    return f'<ul class="legend">{"".join(items)}</ul>'
