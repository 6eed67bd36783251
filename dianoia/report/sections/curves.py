"""The curves of the training stages: the paper's figures first, then the health of the optimization.

In: the metrics of each stage, any of which may be absent. Out: HTML with charts. A chart without data is left
out; of those that every rl stage should have, the section names the missing ones.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from dianoia.report.figures import MAX_POINTS, Chart, Point, figure, grid, line
from dianoia.report.html_values import anchor, duration, escape, missing, paragraph
from dianoia.report.run_reader import Run, Stage, number
from dianoia.report.sections import chart_plans
from dianoia.report.sections.chart_plans import ChartPlan

_PLANS_BY_KIND = {
    "pretrain": chart_plans.PRETRAIN,
    "sft": chart_plans.SUPERVISED,
    "reward_model": chart_plans.REWARD_MODEL,
}
"""Charts of the training stages that do not sample."""
_MAX_UNFOLDED = 2
"""With more rl stages than this, the health of the optimization is folded away."""


def section(run: Run) -> str:
    """Return the charts of every training stage."""
    trained = [stage for stage in run.stages if stage.kind == "rl" or stage.kind in _PLANS_BY_KIND]
    if not trained:
        return missing("No stage of this recipe trains a model, so there are no curves.")
    hint = paragraph("Drag over a chart to zoom in; double-click to reset it.", "dim")
    # Health charts of many stages would bury the paper's figures.
    fold = len(run.of_kind("rl")) > _MAX_UNFOLDED
    return hint + "".join(_stage(stage, fold) for stage in trained)


def _stage(stage: Stage, fold: bool) -> str:
    heading = f'<h3 id="{anchor(stage.name)}">Stage {escape(stage.name)}</h3>'
    if not stage.rows:
        return heading + missing("This stage has not recorded any step yet.")
    plans = _PLANS_BY_KIND.get(stage.kind)
    if plans is not None:
        return heading + _pace(stage) + grid(charts(stage, plans))
    return heading + _pace(stage) + _rl_charts(stage, fold)


def _rl_charts(stage: Stage, fold: bool) -> str:
    # The order on the page: accuracy and length, the recipe's own rewards, programs, reward models, health.
    plans = (*chart_plans.PAPER, *chart_plans.reward_part_plans(stage), *chart_plans.PROGRAMS)
    html = grid(charts(stage, plans))
    reward_models = charts(stage, chart_plans.PREFERENCES)
    if reward_models:
        html += '<h3 class="minor">Reward models</h3>' + grid(reward_models)
    title = "Health of the optimization"
    health = grid(charts(stage, (*chart_plans.HEALTH, *chart_plans.VALUE))) + _absent(stage)
    if fold:
        return f"{html}<details><summary>{title}</summary>{health}</details>"
    return f'{html}<h3 class="minor">{title}</h3>{health}'


def _pace(stage: Stage) -> str:
    """Return the steps, tokens and time of a stage so far, in a line."""
    # Token counts are cumulative, so the last row has the total.
    last_row = stage.rows[-1]
    planned = number(stage.settings.get("steps"))
    facts = [f"Step {stage.last_step or 0:,}" + (f" of {planned:,.0f}" if planned else "")]
    tokens = number(last_row.get("num_tokens" if stage.kind == "rl" else "tokens"))
    if tokens is not None:
        facts.append(f"{tokens:,.0f} tokens")
    facts.append(f"took {duration(stage.seconds)}" if stage.done else "not finished")
    thinned = " Each point is the mean of several steps." if len(stage.rows) > MAX_POINTS else ""
    return paragraph(f"{' · '.join(facts)}.{thinned}", "dim")


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
