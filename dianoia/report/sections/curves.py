"""The curves of training: the rl stages over each other, then every stage with the paper's figures and its health.

In: the metrics of each stage, any of which may be absent. Out: HTML with charts. A chart without data is left
out; of those that every rl stage should have, the section names the missing ones.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from dianoia.report.figures import MAX_POINTS, Chart, Point, figure, grid, line, numbered_line
from dianoia.report.html_values import (
    anchor,
    code,
    duration,
    escape,
    missing,
    paragraph,
    problem_set,
)
from dianoia.report.run_reader import Run, Stage, number
from dianoia.report.sections import chart_plans
from dianoia.report.sections.chart_plans import ChartPlan

_PLANS_BY_KIND = {
    "pretrain": chart_plans.PRETRAIN,
    "sft": chart_plans.SUPERVISED,
    "reward_model": chart_plans.REWARD_MODEL,
}
"""Charts of the training stages that do not sample."""
_MAX_OPEN = 2
"""With more training stages than this, each stage is folded away."""


def section(run: Run) -> str:
    """Return the charts that compare the rl stages, and below them the charts of every training stage."""
    trained = [stage for stage in run.stages if stage.kind == "rl" or stage.kind in _PLANS_BY_KIND]
    if not trained:
        return missing("No stage of this recipe trains a model, so there are no curves.")
    hint = paragraph("Drag over a chart to zoom in; double-click to reset it.", "dim")
    folded = len(trained) > _MAX_OPEN
    stages = "".join(_stage(stage, folded) for stage in trained)
    compared = _compared(run)
    title = "<h3>Each stage</h3>" if compared and stages else ""
    return compared + title + hint + stages


# All rl stages in one chart


def _compared(run: Run) -> str:
    """Return charts with one series per rl stage; empty if fewer than two have recorded anything."""
    stages = [stage for stage in run.of_kind("rl") if stage.rows]
    if len(stages) < 2:
        return ""
    charts_html = grid(
        [chart for plan in chart_plans.COMPARED if (chart := _comparison(stages, *plan))]
    )
    return (
        "<h3>The reinforcement learning stages over each other</h3>"
        f'{_problem_sets(stages)}<div class="pairs">{charts_html}</div>'
    )


def _comparison(
    stages: Sequence[Stage], metric: str, title: str, caption: str, share: bool
) -> Chart | None:
    """Return the chart of one metric; None if fewer than two stages recorded it."""
    # A stage keeps its colour in all charts, so the index counts stages without the metric as well.
    traces = [
        numbered_line(index, stage.name, points, share)
        for index, stage in enumerate(stages)
        if (points := _points(metric, stage.rows, stacked=False))
    ]
    if len(traces) < 2:
        return None
    return Chart(title, caption, figure(traces, "optimizer step", share=share))


def _problem_sets(stages: Sequence[Stage]) -> str:
    """Say which problems the stages trained on, if not all on the same: their curves are then not of equal problems."""
    names: dict[str, list[str]] = {}
    for stage in stages:
        names.setdefault(problem_set(stage.settings.get("problems", "?")), []).append(stage.name)
    if len(names) < 2:
        return ""
    sets = "; ".join(
        f"{code(name)}: {', '.join(map(escape, members))}" for name, members in names.items()
    )
    return paragraph(
        f"Not all of them have the same problems, so compare shapes, not levels. {sets}.", "dim"
    )


# One stage


def _stage(stage: Stage, folded: bool) -> str:
    """Return a stage's charts below a line with its name and pace, which opens and closes them."""
    heading = f'<h3 id="{anchor(stage.name)}">Stage {escape(stage.name)}</h3>'
    if not stage.rows:
        return heading + missing("This stage has not recorded any step yet.")
    plans = _PLANS_BY_KIND.get(stage.kind)
    body = _rl_charts(stage) if plans is None else grid(charts(stage, plans))
    return (
        f'<details class="stage"{"" if folded else " open"}><summary>{heading}{_pace(stage)}</summary>'
        f"{body}</details>"
    )


def _rl_charts(stage: Stage) -> str:
    # The order on the page: accuracy and length, the recipe's own rewards, programs, reward models, health.
    plans = (*chart_plans.PAPER, *chart_plans.reward_part_plans(stage), *chart_plans.PROGRAMS)
    html = grid(charts(stage, plans))
    reward_models = charts(stage, chart_plans.PREFERENCES)
    if reward_models:
        html += '<h4 class="minor">Reward models</h4>' + grid(reward_models, 5)
    health = grid(charts(stage, (*chart_plans.HEALTH, *chart_plans.VALUE)), 5) + _absent(stage)
    return f'{html}<h4 class="minor">Health of the optimization</h4>{health}'


def _pace(stage: Stage) -> str:
    """Return the steps, tokens and time of a stage so far, in a line."""
    # Token counts are cumulative, so the last row has the total.
    last_row = stage.rows[-1]
    planned = number(stage.settings.get("steps"))
    facts = [f"Step {stage.last_step or 0:,}" + (f" of {planned:,.0f}" if planned else "")]
    tokens = number(last_row.get("num_tokens" if stage.kind == "rl" else "tokens"))
    if tokens is not None:
        facts.append(f"{tokens:,.0f} tokens")
    unfinished = "failed" if stage.failure else "not finished"
    facts.append(f"took {duration(stage.seconds)}" if stage.done else unfinished)
    thinned = " Each point is the mean of several steps." if len(stage.rows) > MAX_POINTS else ""
    # Not a paragraph: a summary may only hold a heading and text.
    return f'<span class="dim">{" · ".join(facts)}.{thinned}</span>'


def _absent(stage: Stage) -> str:
    """Name the charts of the paper and of the optimization for which nothing was recorded."""
    plans = (*chart_plans.PAPER, *chart_plans.HEALTH)
    titles = [plan.title for plan in plans if not _traces(plan, stage.rows)]
    return missing(f"Not recorded in this run: {', '.join(titles)}.") if titles else ""


def charts(stage: Stage, plans: Sequence[ChartPlan]) -> list[Chart]:
    """Return the charts for which the stage has numbers."""
    return [
        Chart(
            plan.title,
            plan.caption,
            figure(traces, "optimizer step", share=plan.share, small=plan.small),
        )
        for plan in plans
        if (traces := _traces(plan, stage.rows))
    ]


def _traces(plan: ChartPlan, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    traces = []
    for series in plan.series:
        for key in _keys(series.key, rows):
            points = _points(key, rows, stacked=series.style == "stacked")
            if points:
                # `heldout/cons@16` and `cons@16` have the same label; the series' name tells them apart.
                name = series.name.format(key=key.removeprefix("heldout/"))
                share = plan.share or plan.small
                traces.append(line(name, points, series.colour, series.style, share))
    return traces


def _keys(pattern: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if "*" not in pattern:
        return [pattern]
    return sorted({key for row in rows for key in row if fnmatchcase(key, pattern)})


def _points(key: str, rows: Sequence[Mapping[str, Any]], stacked: bool) -> list[Point]:
    """Return the finite values of a metric over their steps; none if it was never recorded.

    Stacked areas need a value at every step: work that did not run took 0 seconds.
    """
    if all(number(row.get(key)) is None for row in rows):
        return []
    points = []
    for row in rows:
        step, value = number(row.get("step")), number(row.get(key))
        if step is not None and (value is not None or stacked):
            points.append((step, value or 0.0))
    return points
